// Search results quote their pages, which a browser does not let a page from file:// read.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
