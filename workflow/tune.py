"""The learning rates that the protocol "tuned" was chosen from: short runs on training images, tested on 50 of them held back.

    python workflow/tune.py

Whole surfaces are held back, and the test images play no part. The choice itself was made on images held back at random
(results/tuning/by-chance). Each run is recorded in results/tuning/runs; the book's protocol chapter shows both.
"""

import sys
from dataclasses import replace

from anet_core.protocol import TUNED
from anet_core.records import RESULTS
from anet_core.run import run
from data_prep import locate
from data_prep.command_line import exit_code

ITERATIONS = 300
CANDIDATES = [
    replace(TUNED, name=f"rate{rate}", learning_rate=rate, iterations=ITERATIONS, warmup_iterations=30)
    for rate in (0.03, 0.1, 0.3)
]


@exit_code
def main() -> None:
    """The command line."""
    for candidate in CANDIDATES:
        record = run("A-Net", locate("neu-inclusion"), candidate, results=RESULTS / "tuning", held_back=True)
        print(f"{candidate.name}: IoU {record['iou_pooled']:.2f} % pooled on the images held back")


if __name__ == "__main__":
    sys.exit(main())
