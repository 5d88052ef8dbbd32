// The blocks of A-Net for one picture on a CPU, each with its norms folded into its convolutions. Needs g++ or clang++ and what belongs to them:
//
//     c++ -std=c++17 -O3 -march=native -fopenmp -shared -fPIC NAME.cpp -o libNAME.so
//
// With -DBF16 it computes in bfloat16, where the processor can (AVX512_BF16); without -fopenmp on one thread; with -Danet=other_name
// by another name, for two networks in one program.
//
// A block is two passes over rows at most: one that narrows, whose result the filter reads above and below, and one that does all the
// rest row by row, while the row is in the nearest cache. Numbers lie pixel by pixel, the channels of a pixel side by side.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <mutex>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef BF16
#ifndef __AVX512BF16__
#error "this processor, or the one that -march names, does not multiply bfloat16: leave -DBF16 away"
#endif
#include <immintrin.h>
#endif

namespace {

#ifndef _OPENMP
static int omp_get_thread_num() { return 0; }
static int omp_get_num_threads() { return 1; }
#endif

#define INLINE static inline __attribute__((always_inline))
#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#define EACH_ROW(r, n) _Pragma("omp for schedule(static)") for (int r = 0; r < (n); r++)

// ---- Registers of N numbers: whole ones, and halves where a block has only 8 channels

#ifdef __AVX512F__
enum { LANES = 16, PIXELS = 14 };  // of a register; and how many pixels times two registers of sums fit beside the weights
#else
enum { LANES = 8, PIXELS = 6 };
#endif
enum { HALF = 8 };

template <int N> struct of {
    typedef float floats __attribute__((vector_size(4 * N)));
    typedef float in_memory __attribute__((vector_size(4 * N), aligned(4), may_alias));
    typedef int32_t ints __attribute__((vector_size(4 * N)));
    typedef uint8_t bytes_in_memory __attribute__((vector_size(N), aligned(1), may_alias));
};
template <int N> using vec = typename of<N>::floats;

template <int N> INLINE void load(const float *from, vec<N> &to) { to = (vec<N>)*(const typename of<N>::in_memory *)from; }
template <int N> INLINE void store(float *to, const vec<N> &from) { *(typename of<N>::in_memory *)to = (typename of<N>::in_memory)from; }

// sum += x w, where a register of w holds TOGETHER inputs of each of N outputs
#ifdef BF16
typedef uint16_t number;  // the upper half of a float
enum { TOGETHER = 2 };
template <int N> INLINE void load(const number *from, vec<N> &to) {
    if constexpr (N == HALF) to = (vec<N>)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
    else to = (vec<N>)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
}
template <int N> INLINE void store(number *to, const vec<N> &from) {
    if constexpr (N == HALF) _mm_storeu_si128((__m128i *)to, (__m128i)_mm256_cvtneps_pbh((__m256)from));
    else _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)from));
}
template <int N> INLINE void multiply_add(vec<N> &sum, const number *x, const vec<N> &w) {
    int32_t both;
    memcpy(&both, x, sizeof both);
    if constexpr (N == HALF) sum = (vec<N>)_mm256_dpbf16_ps((__m256)sum, (__m256bh)w, (__m256bh)_mm256_set1_epi32(both));
    else sum = (vec<N>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)_mm512_set1_epi32(both));
}
#else
typedef float number;
enum { TOGETHER = 1 };
template <int N> INLINE void multiply_add(vec<N> &sum, const number *x, const vec<N> &w) { sum += *x * w; }
#endif

INLINE number rounded(float x) {
    number y[HALF];
    store<HALF>(y, vec<HALF>{x});
    return y[0];
}

// ---- Memory

enum { LINE = 64 / sizeof(number) };  // of the cache: a register of weights is to lie in one

static number *at_line(number *from) { return (number *)(((uintptr_t)from + 63) / 64 * 64); }

static number *zeros(size_t count) { return at_line(new number[count + LINE]()); }  // as long as the program lasts

// Of this thread, for one row of a block; what was in it is lost.
static number *room(size_t count) {
    static thread_local std::vector<number> memory;
    if (memory.size() < count + LINE) memory.resize(count + LINE);
    return at_line(memory.data());
}

struct features {  // (h, w, c) numbers with a frame of zeros around them
    int h, w, c, frame;
    number *numbers;
    features(int h, int w, int c, int frame = 1) : h(h), w(w), c(c), frame(frame), numbers(zeros((size_t)(h + 2 * frame) * (w + 2 * frame) * c)) {}
    number *row(int r) const { return numbers + ((long)(r + frame) * (w + 2 * frame) + frame) * c; }
};

// ---- Weights

struct convolution {
    int taps, c_in, c_out;
    float slope;            // of the PReLU behind it; 1 where there is none
    const float *kernel, *bias;  // (taps, c_in, c_out), (c_out)
    const number *packed;   // the kernel as multiply_add takes it
    const float *scale = nullptr, *shift = nullptr;  // of a norm behind the PReLU, (c_out)
    bool sum_last = false;  // what is added comes behind the PReLU
};

// Shapes (taps, c_in, c_out), and for each its kernel, bias and slope in `floats`.
static std::vector<convolution> convolutions(const int (*shapes)[3], size_t count, const float *floats) {
    std::vector<convolution> all;
    for (size_t i = 0; i < count; i++) {
        const int taps = shapes[i][0], c_in = shapes[i][1], c_out = shapes[i][2], size = taps * c_in * c_out;
        number *packed = nullptr;
        if (c_in > 1) {  // else it is of each channel by itself, and used as it is
            packed = zeros(size);
            for (int row = 0; row < taps * c_in; row++)
                for (int o = 0; o < c_out; o++)
                    packed[(row / TOGETHER * c_out + o) * TOGETHER + row % TOGETHER] = rounded(floats[row * c_out + o]);
        }
        all.push_back({taps, c_in, c_out, floats[size + c_out], floats, floats + size, packed});
        floats += size + c_out + 1;
    }
    return all;
}

struct reader {  // hands out the convolutions in the order in which the network has them
    const convolution *at;
    convolution next() { return *at++; }
};

// ---- Convolutions of a row of pixels

template <int N> INLINE vec<N> prelu(const vec<N> &x, float slope, bool gentle) {
    const vec<N> sloped = x * slope;
    return gentle ? (x > sloped ? x : sloped) : (x > sloped ? sloped : x);
}
template <int N> INLINE vec<N> prelu(const vec<N> &x, float slope) { return prelu<N>(x, slope, slope <= 1); }

// COUNT pixels and REGISTERS of output channels at a time: y = PReLU(bias + add + sum over taps of x[tap] W[tap]).
template <int N, int COUNT, int REGISTERS>
static __attribute__((noinline)) void tile(const convolution &k, const number *const *x, long from, int step, int channel, const number *add, number *y, int y_step) {
    vec<N> sum[COUNT][REGISTERS];
    EACH(v, REGISTERS) {
        vec<N> bias;
        load<N>(k.bias + channel + v * N, bias);
        EACH(p, COUNT) sum[p][v] = bias;
    }
    const number *w = k.packed + (long)channel * TOGETHER;
    for (int tap = 0; tap < k.taps; tap++) {
        const number *in = x[tap] + from, *end = in + k.c_in;
        for (; in < end; in += TOGETHER, w += (long)k.c_out * TOGETHER) {
            vec<N> weights[REGISTERS];
            EACH(v, REGISTERS) load<N>((const float *)(w + v * N * TOGETHER), weights[v]);
            EACH(p, COUNT) EACH(v, REGISTERS) multiply_add<N>(sum[p][v], in + (long)p * step, weights[v]);
        }
    }
    y += channel, add = add ? add + channel : nullptr;
#define EACH_SUM EACH(p, COUNT) EACH(v, REGISTERS)
#define AT (long)p * y_step + v * N
    if (add && !k.sum_last) EACH_SUM {
        vec<N> a;
        load<N>(add + AT, a);
        sum[p][v] += a;
    }
    // Each case by itself, as the compiler keeps the sums in registers then.
    if (k.scale) EACH_SUM {
        vec<N> scale, shift;
        load<N>(k.scale + channel + v * N, scale), load<N>(k.shift + channel + v * N, shift);
        store<N>(y + AT, prelu<N>(sum[p][v], k.slope) * scale + shift);
    }
    else if (k.sum_last) EACH_SUM {
        vec<N> a;
        load<N>(add + AT, a);
        store<N>(y + AT, prelu<N>(sum[p][v], k.slope) + a);
    }
    else if (k.slope <= 1) EACH_SUM store<N>(y + AT, prelu<N>(sum[p][v], k.slope, true));
    else EACH_SUM store<N>(y + AT, prelu<N>(sum[p][v], k.slope, false));
}

template <int N, int COUNT>
INLINE void channels(const convolution &k, const number *const *x, long from, int step, const number *add, number *y, int y_step) {
    int c = 0;
    for (; c + 2 * N <= k.c_out; c += 2 * N) tile<N, COUNT, 2>(k, x, from, step, c, add, y, y_step);
    for (; c + N <= k.c_out; c += N) tile<N, COUNT, 1>(k, x, from, step, c, add, y, y_step);
}

template <int N>
static void pixels(const convolution &k, int count, const number *const *x, int step, const number *add, number *y, int y_step) {
    for (int p = 0, done; p < count; p += done) {
        const number *a = add ? add + (long)p * y_step : nullptr;
        number *to = y + (long)p * y_step;
        if (count - p >= PIXELS) channels<N, PIXELS>(k, x, (long)p * step, step, a, to, y_step), done = PIXELS;
        else if (count - p >= PIXELS / 2) channels<N, PIXELS / 2>(k, x, (long)p * step, step, a, to, y_step), done = PIXELS / 2;
        else channels<N, 1>(k, x, (long)p * step, step, a, to, y_step), done = 1;
    }
}

// Of `count` pixels: x[tap] is where the first pixel's tap lies, `step` numbers further the next pixel's.
static inline void convolve(const convolution &k, int count, const number *const *x, int step, number *y, int y_step, const number *add = nullptr) {
    if (k.c_out % LANES) pixels<HALF>(k, count, x, step, add, y, y_step);
    else pixels<LANES>(k, count, x, step, add, y, y_step);
}

static inline void pointwise(const convolution &k, int count, const number *x, number *y, const number *add = nullptr) {
    convolve(k, count, &x, k.c_in, y, k.c_out, add);
}

// 3x3 of each channel by itself; x are three rows, from the pixel to the left of the first.
template <int N, class T>
static void depthwise_of(const convolution &k, int count, const number *const x[3], T *y, int y_step) {
    for (int c = 0; c < k.c_out; c += N) {
        vec<N> w[9], bias, done, last, next;
        EACH(tap, 9) load<N>(k.kernel + tap * k.c_out + c, w[tap]);
        load<N>(k.bias + c, bias);
        last = next = bias;
        for (int p = 0; p < count + 2; p++) {  // each column of pixels is read once and added to the three outputs that see it
            vec<N> in[3];
            EACH(r, 3) load<N>(x[r] + (long)p * k.c_out + c, in[r]);
            done = last, last = next, next = bias;
            EACH(r, 3) done += w[3 * r + 2] * in[r], last += w[3 * r + 1] * in[r], next += w[3 * r] * in[r];
            if (p >= 2) store<N>(y + (long)(p - 2) * y_step + c, done);
        }
    }
}

template <class T> static void depthwise(const convolution &k, int count, const number *const x[3], T *y, int y_step) {
    if (k.c_out % LANES) depthwise_of<HALF>(k, count, x, y, y_step);
    else depthwise_of<LANES>(k, count, x, y, y_step);
}

// ---- The blocks: every thread calls them, and does its share of the rows

// x + expand(filter(narrow(x))), in place; `narrowed` holds what the narrowing makes.
static inline void light(reader &weights, const features &x, const features &narrowed, bool sum_last = false) {
    const auto narrow = weights.next(), filter = weights.next(), mix = weights.next();
    auto expand = weights.next();
    expand.sum_last = sum_last;
    const int w = x.w, m = narrow.c_out;
    EACH_ROW(r, x.h) pointwise(narrow, w, x.row(r), narrowed.row(r));
    EACH_ROW(r, x.h) {
        number *filtered = room(2 * w * m), *mixed = filtered + w * m;
        const number *rows[3];
        for (int i = 0; i < 3; i++) rows[i] = narrowed.row(r + i - 1) - m;
        depthwise(filter, w, rows, filtered, m);
        pointwise(mix, w, filtered, mixed);
        pointwise(expand, w, mixed, x.row(r), x.row(r));
    }
}

static inline void wide(reader &weights, const features &x, const features &narrowed, bool sum_last = false) {
    const auto narrow = weights.next(), vertical = weights.next(), horizontal = weights.next();
    auto expand = weights.next();
    expand.sum_last = sum_last;
    const int w = x.w, m = narrow.c_out, reach = 2;
    EACH_ROW(r, x.h) pointwise(narrow, w, x.row(r), narrowed.row(r));
    EACH_ROW(r, x.h) {
        number *one = room((2 * w + 2 * reach) * m), *other = one + (w + 2 * reach) * m;
        const number *above[5], *beside[5];
        for (int i = 0; i < 5; i++) above[i] = narrowed.row(r + i - reach), beside[i] = one + i * m;
        memset(one, 0, reach * m * sizeof(number));
        memset(one + (w + reach) * m, 0, reach * m * sizeof(number));
        convolve(vertical, w, above, m, one + reach * m, m);
        convolve(horizontal, w, beside, m, other, m);
        pointwise(expand, w, other, x.row(r), x.row(r));
    }
}

struct down_weights {
    convolution narrow, strided, expand, shortcut;
    explicit down_weights(reader &weights) : narrow(weights.next()), strided(weights.next()), expand(weights.next()), shortcut(weights.next()) {}
};

// One row y of w pixels, from two rows of 2 w pixels, and the w pixels that max-pooling makes of them.
static inline void down_row(const down_weights &k, int w, const number *const rows[2], const number *pooled, number *y, number *free) {
    const int m = k.narrow.c_out;
    number *narrowed = free, *halved = narrowed + 4 * w * m, *beside = halved + w * m;
    const number *taps[4] = {narrowed, narrowed + m, narrowed + 2 * w * m, narrowed + (2 * w + 1) * m};
    for (int i = 0; i < 2; i++) pointwise(k.narrow, 2 * w, rows[i], narrowed + i * 2 * w * m);
    convolve(k.strided, w, taps, 2 * m, halved, m);
    pointwise(k.shortcut, w, pooled, beside);
    pointwise(k.expand, w, halved, y, beside);
}
static inline size_t down_room(const down_weights &k, int w) { return (size_t)w * (5 * k.narrow.c_out + k.expand.c_out); }

static inline void down(reader &weights, const features &x, const features &y) {
    const down_weights k(weights);
    EACH_ROW(r, y.h) {
        number *pooled = room(y.w * x.c + down_room(k, y.w));
        const number *rows[2] = {x.row(2 * r), x.row(2 * r + 1)};
        for (int p = 0; p < y.w; p++)
            for (int c = 0; c < x.c; c += LANES) {
                vec<LANES> most, other;
                load<LANES>(rows[0] + 2 * p * x.c + c, most);
                for (int i = 1; i < 4; i++) {
                    load<LANES>(rows[i / 2] + (2 * p + i % 2) * x.c + c, other);
                    most = most > other ? most : other;
                }
                store<LANES>(pooled + p * x.c + c, most);
            }
        down_row(k, y.w, rows, pooled, y.row(r), pooled + y.w * x.c);
    }
}

// The picture has 3 bytes a pixel, and the first convolutions take 4 numbers, the last of them 0. They take bytes as they are, which
// even bfloat16 holds exactly: that white is 1 and black -1 is folded into their weights.
enum { RGB = 3, RGBX = 4 };

INLINE void spread(const uint8_t *from, int count, uint8_t *to) {
    for (int p = 0; p < count; p++) {
        uint32_t pixel = 0;
        memcpy(&pixel, from + RGB * p, p + 1 < count ? RGBX : RGB);  // four are read in one go; the last of a row may end where the picture does
        pixel &= 0xffffff;
        memcpy(to + RGBX * p, &pixel, RGBX);
    }
}

INLINE void to_numbers(const uint8_t *from, int count, number *to) {
    for (int i = 0; i < count; i += LANES) {
        const auto ints = __builtin_convertvector(*(const of<LANES>::bytes_in_memory *)(from + i), of<LANES>::ints);
        store<LANES>(to + i, __builtin_convertvector(ints, vec<LANES>));
    }
}

static inline void first_down(reader &weights, const uint8_t *picture, const features &y) {
    const down_weights k(weights);
    const int w = y.w, row = 2 * w * RGBX, bytes_in_numbers = sizeof(number);
    EACH_ROW(r, y.h) {
        number *rows = room(2 * row + row / 2 + 3 * row / bytes_in_numbers + down_room(k, w)), *pooled = rows + 2 * row;
        uint8_t *upper = (uint8_t *)(pooled + row / 2), *lower = upper + row, *most = lower + row;
        spread(picture + (long)(2 * r) * 2 * w * RGB, 2 * w, upper);
        spread(picture + (long)(2 * r + 1) * 2 * w * RGB, 2 * w, lower);
        to_numbers(upper, 2 * row, rows);
        for (int i = 0; i < row; i++) upper[i] = upper[i] > lower[i] ? upper[i] : lower[i];
        for (int p = 0; p < w; p++)
            for (int c = 0; c < RGBX; c++) {
                const uint8_t left = upper[2 * RGBX * p + c], right = upper[2 * RGBX * p + RGBX + c];
                most[RGBX * p + c] = left > right ? left : right;
            }
        to_numbers(most, row / 2, pooled);
        const number *both[2] = {rows, rows + row};
        down_row(k, w, both, pooled, y.row(r), (number *)(most + row));
    }
}

// Linear interpolation of n values to 2 n, the outermost staying where they are: between which two a value lies, and how far.
struct between {
    int before;
    float part;
    between(int i, int n) {
        const float position = (float)i * (n - 1) / (2 * n - 1);
        before = (int)position < n - 1 ? (int)position : n > 1 ? n - 2 : 0;
        part = position - before;
    }
};

INLINE void interpolate(const number *one, const number *other, float part, int count, number *to) {
    for (int i = 0; i < count; i += LANES) {
        vec<LANES> a, b;
        load<LANES>(one + i, a);
        load<LANES>(other + i, b);
        store<LANES>(to + i, a + part * (b - a));
    }
}

// `shortcut` holds what the pointwise convolution of that branch makes.
static inline void up(reader &weights, const features &x, const features &shortcut, const features &y) {
    const auto narrow = weights.next(), upper = weights.next(), lower = weights.next(), expand = weights.next(), beside = weights.next();
    const int w = x.w, m = narrow.c_out, c = y.c;
    EACH_ROW(r, x.h) pointwise(beside, w, x.row(r), shortcut.row(r));
    EACH_ROW(r, x.h) {
        number *narrowed = room(3 * w * m + 3 * w * c), *doubled = narrowed + w * m, *column = doubled + 2 * w * m, *sum = column + w * c;
        pointwise(narrow, w, x.row(r), narrowed);
        for (int i = 0; i < 2; i++) {
            const between rows(2 * r + i, x.h);
            interpolate(shortcut.row(rows.before), shortcut.row(rows.before + (x.h > 1)), rows.part, w * c, column);
            for (int p = 0; p < 2 * w; p++) {
                const between columns(p, w);
                interpolate(column + columns.before * c, column + (columns.before + (w > 1)) * c, columns.part, c, sum + p * c);
            }
            pointwise(i ? lower : upper, w, narrowed, doubled);  // the channels of two neighbouring pixels
            pointwise(expand, 2 * w, doubled, y.row(2 * r + i), sum);
        }
    }
}

static inline void compress(reader &weights, const features &detail, const features &semantic, const features &y) {
    const auto of_detail = weights.next(), of_semantic = weights.next(), both = weights.next();
    const int c = detail.c;
    EACH_ROW(r, y.h) {
        number *filtered = room(2 * y.w * c);
        const number *rows[2][3];
        for (int i = 0; i < 3; i++) rows[0][i] = detail.row(r + i - 1) - c, rows[1][i] = semantic.row(r + i - 1) - c;
        depthwise(of_detail, y.w, rows[0], filtered, 2 * c);
        depthwise(of_semantic, y.w, rows[1], filtered + c, 2 * c);
        pointwise(both, y.w, filtered, y.row(r));
    }
}

// Lanes of a and, from N on, of b.
template <int N> INLINE vec<N> picked(const vec<N> &a, const vec<N> &b, const typename of<N>::ints &which) {
#ifdef __clang__
    vec<N> y;
    for (int l = 0; l < N; l++) y[l] = which[l] < N ? a[which[l]] : b[which[l] - N];
    return y;
#else
    return __builtin_shuffle(a, b, which);
#endif
}

// Lane i of the result is the sum of all lanes of v[i]: neighbours change places until each has its own.
template <int N> INLINE vec<N> sums_of(vec<N> v[N]) {
    EACH(level, 4) {
        const int apart = 1 << level;
        typename of<N>::ints stay, come;
        EACH(l, N) stay[l] = l & apart ? N + l : l, come[l] = l & apart ? N + l - apart : l + apart;
        EACH(i, N / 2) if (i < N / 2 / apart) v[i] = picked<N>(v[2 * i], v[2 * i + 1], stay) + picked<N>(v[2 * i], v[2 * i + 1], come);
    }
    return v[0];
}

// Each thread works down a strip of the picture and keeps the last rows that it made; the first of a strip are made by two threads.
static inline void head(reader &weights, const features &x, float *logits) {
    auto upper = weights.next(), lower = weights.next();
    const auto norm = weights.next(), filter = weights.next(), mix = weights.next(), last = weights.next();
    upper.scale = lower.scale = norm.kernel, upper.shift = lower.shift = norm.bias;
    const int m = mix.c_out, H = 2 * x.h, W = 2 * x.w, row = (W + 2) * m, kept = 4;
    const int threads = omp_get_num_threads(), me = omp_get_thread_num(), from = 2 * (x.h * me / threads), to = 2 * (x.h * (me + 1) / threads);
    number *deconvolved = room((2 * kept + 1) * row + row * sizeof(float) / sizeof(number)), *mixed = deconvolved + kept * row, *filtered = mixed + kept * row;
    float *products = (float *)(filtered + row);
    const auto kept_row = [=](number *rows, int r) { return rows + (r & (kept - 1)) * row; };
    const auto three = [=](number *rows, int r, const number **found) { for (int i = 0; i < 3; i++) found[i] = kept_row(rows, r + i - 1); };
    memset(deconvolved, 0, 2 * kept * row * sizeof(number));
    const number *rows[3];
    int next_deconvolved = from < 2 ? 0 : from - 2, next_mixed = from - 1;
    for (int r = from; r < to; r++) {
        for (; next_mixed <= r + 1; next_mixed++) {
            number *y = kept_row(mixed, next_mixed);
            if (next_mixed < 0 || next_mixed >= H) { memset(y, 0, row * sizeof(number)); continue; }
            for (; next_deconvolved <= next_mixed + 1; next_deconvolved += 2)  // two at once
                for (int i = 0; i < 2; i++) {
                    number *z = kept_row(deconvolved, next_deconvolved + i);
                    if (next_deconvolved < H) pointwise(i ? lower : upper, x.w, x.row(next_deconvolved / 2), z + m);
                    else memset(z, 0, row * sizeof(number));
                }
            three(deconvolved, next_mixed, rows);
            depthwise(filter, W, rows, filtered, m);
            pointwise(mix, W, filtered, y + m);
        }
        three(mixed, r, rows);
        depthwise(last, W, rows, products, m);  // the products of the last convolution; their sum over channels is the logit
        for (int p = 0; p < W; p += LANES) {
            vec<LANES> v[LANES];
            EACH(i, LANES) {
                load<LANES>(products + (p + i) * m, v[i]);
                for (int c = LANES; c < m; c += LANES) {
                    vec<LANES> more;
                    load<LANES>(products + (p + i) * m + c, more);
                    v[i] += more;
                }
            }
            store<LANES>(logits + (long)r * W + p, sums_of<LANES>(v));
        }
    }
}

// ---- QuarterNet's first and last convolution

static inline void first_quarter(reader &weights, const uint8_t *picture, const features &y) {
    const auto k = weights.next();
    const int side = 4, H = side * y.h, W = side * y.w, frame = side / 2 * RGBX, row = W * RGBX + 2 * frame;
    const number grey = rounded(127.5f);  // what the frame's zeros are among bytes
    EACH_ROW(r, y.h) {
        number *rows = room(2 * side * row + row);
        uint8_t *bytes = (uint8_t *)(rows + 2 * side * row);
        const number *taps[2 * side];
        for (int i = 0; i < 2 * side; i++) {
            const int from = side * r + i - side / 2;
            number *to = rows + i * row;
            for (int j = 0; j < row; j++) to[j] = grey;
            if (from >= 0 && from < H) {
                spread(picture + (long)from * W * RGB, W, bytes);
                to_numbers(bytes, W * RGBX, to + frame);
            }
            taps[i] = to;  // eight pixels of a row are one tap of many channels
        }
        convolve(k, y.w, taps, side * RGBX, y.row(r), y.c);
    }
}

static inline void last_quarter(reader &weights, const features &x, float *logits) {
    const auto k = weights.next();
    const int side = 4, block = side * side;
    EACH_ROW(r, x.h) {
        number *blocks = room(x.w * block);
        const number *taps[3];
        for (int i = 0; i < 3; i++) taps[i] = x.row(r + i - 1) - x.c;
        convolve(k, x.w, taps, x.c, blocks, block);
        for (int p = 0; p < x.w; p++) {
            float pixels[block];
            for (int i = 0; i < block; i += LANES) {
                vec<LANES> some;
                load<LANES>(blocks + p * block + i, some);
                store<LANES>(pixels + i, some);
            }
            for (int i = 0; i < side; i++) memcpy(logits + ((long)(side * r + i) * x.w + p) * side, pixels + side * i, side * sizeof(float));
        }
    }
}

}  // namespace
