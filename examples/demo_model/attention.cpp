// Attention of narrow heads on a CPU, forward and backward, for the training of the demo model: softmax(q kᵀ / √D) v.
//
// A head of 8 columns gives 65 536 probabilities for 2048 numbers: libraries write them all to memory, several times over, and multiply
// matrices 8 wide, for which their kernels are not made. Here one head's keys and values stay in the first cache, its probabilities are
// never kept (Dao et al., "FlashAttention", 2022: the backward pass makes them again), and a vector's lanes are eight keys.
//
// All tensors are single precision and contiguous (batch, rows, heads·D), as the layers before and behind read and write them;
// `log_sums` is (batch, heads, rows). Compiled by attention.py.

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

typedef float Lanes __attribute__((vector_size(32)));
constexpr int LANES = 8;
constexpr int ROWS = 4;  // queries at once: each load of keys serves them all

struct Shape {
    int queries, keys, heads, groups;  // groups of LANES keys, the last one filled up
    long stride;                       // between rows: heads · D
};

// A head's rows (keys, D) the other way round: (D, groups) vectors, zeros behind the last.
template <int D> void turn(const float *rows, const Shape &s, Lanes *out) {
    std::fill(out, out + D * s.groups, Lanes{});
    for (int j = 0; j < s.keys; j++)
        for (int d = 0; d < D; d++) out[d * s.groups + j / LANES][j % LANES] = rows[j * s.stride + d];
}

template <int D> void turn_back(const Lanes *columns, const Shape &s, float *rows) {
    for (int j = 0; j < s.keys; j++)
        for (int d = 0; d < D; d++) rows[j * s.stride + d] = columns[d * s.groups + j / LANES][j % LANES];
}

// out (ROWS, groups) = rows (ROWS, D) · columns (D, groups)
template <int D> void products(const float (*rows)[D], const Lanes *columns, int groups, Lanes *out) {
    for (int j = 0; j < groups; j++) {
        Lanes sums[ROWS] = {};
        for (int d = 0; d < D; d++)
            for (int r = 0; r < ROWS; r++) sums[r] += rows[r][d] * columns[d * groups + j];
        for (int r = 0; r < ROWS; r++) out[r * groups + j] = sums[r];
    }
}

// out[d] = Σ row (groups) · columns (D, groups)
template <int D> void weighted(const Lanes *row, const Lanes *columns, int groups, float *out) {
    Lanes sums[D] = {};
    for (int j = 0; j < groups; j++)
        for (int d = 0; d < D; d++) sums[d] += row[j] * columns[d * groups + j];
    for (int d = 0; d < D; d++) {
        out[d] = 0;
        for (int lane = 0; lane < LANES; lane++) out[d] += sums[d][lane];
    }
}

// columns (D, groups) += rowsᵀ · weights (ROWS, groups)
template <int D> void scatter(const float (*rows)[D], const Lanes *weights, int groups, Lanes *columns) {
    for (int d = 0; d < D; d++)
        for (int j = 0; j < groups; j++) {
            Lanes sum = columns[d * groups + j];
            for (int r = 0; r < ROWS; r++) sum += rows[r][d] * weights[r * groups + j];
            columns[d * groups + j] = sum;
        }
}

// A block of ROWS rows; those past the end are zeros.
template <int D> void block(const float *from, int at, const Shape &s, float factor, float (*out)[D]) {
    for (int r = 0; r < ROWS; r++)
        for (int d = 0; d < D; d++) out[r][d] = at + r < s.queries ? factor * from[(at + r) * s.stride + d] : 0;
}

void exponentials(float *row, float less, const Shape &s) {
    for (int j = 0; j < s.groups * LANES; j++) row[j] = std::exp(row[j] - less);
    std::fill(row + s.keys, row + s.groups * LANES, 0.0f);
}

template <int D> void forward_head(const float *q, const float *k, const float *v, float *out, float *log_sums, const Shape &s) {
    std::vector<Lanes> keys(D * s.groups), values(D * s.groups), scores(ROWS * s.groups);
    turn<D>(k, s, keys.data());
    turn<D>(v, s, values.data());
    for (int at = 0; at < s.queries; at += ROWS) {
        float rows[ROWS][D], sum[D];
        block<D>(q, at, s, 1 / std::sqrt(float(D)), rows);
        products<D>(rows, keys.data(), s.groups, scores.data());
        for (int r = 0; r < ROWS && at + r < s.queries; r++) {
            Lanes *p = &scores[r * s.groups];
            float *row = reinterpret_cast<float *>(p);
            float highest = row[0], total = 0;
            for (int j = 1; j < s.keys; j++) highest = std::max(highest, row[j]);
            exponentials(row, highest, s);
            for (int j = 0; j < s.keys; j++) total += row[j];
            weighted<D>(p, values.data(), s.groups, sum);
            for (int d = 0; d < D; d++) out[(at + r) * s.stride + d] = sum[d] / total;
            log_sums[at + r] = highest + std::log(total);
        }
    }
}

template <int D>
void backward_head(const float *q, const float *k, const float *v, const float *out, const float *log_sums, const float *d_out, float *d_q,
                   float *d_k, float *d_v, const Shape &s) {
    std::vector<Lanes> keys(D * s.groups), values(D * s.groups), d_keys(D * s.groups), d_values(D * s.groups);
    std::vector<Lanes> p(ROWS * s.groups), d_p(ROWS * s.groups);
    turn<D>(k, s, keys.data());
    turn<D>(v, s, values.data());
    const float factor = 1 / std::sqrt(float(D));
    for (int at = 0; at < s.queries; at += ROWS) {
        float rows[ROWS][D], d_rows[ROWS][D], sum[D];
        block<D>(q, at, s, factor, rows);
        block<D>(d_out, at, s, 1, d_rows);
        products<D>(rows, keys.data(), s.groups, p.data());
        products<D>(d_rows, values.data(), s.groups, d_p.data());
        for (int r = 0; r < ROWS && at + r < s.queries; r++) {
            exponentials(reinterpret_cast<float *>(&p[r * s.groups]), log_sums[at + r], s);
            float both = 0;  // Σ p · d_p
            for (int d = 0; d < D; d++) both += d_rows[r][d] * out[(at + r) * s.stride + d];
            for (int j = 0; j < s.groups; j++) d_p[r * s.groups + j] = p[r * s.groups + j] * (d_p[r * s.groups + j] - both);
            weighted<D>(&d_p[r * s.groups], keys.data(), s.groups, sum);
            for (int d = 0; d < D; d++) d_q[(at + r) * s.stride + d] = factor * sum[d];
        }
        scatter<D>(d_rows, p.data(), s.groups, d_values.data());  // rows past the end are zeros
        scatter<D>(rows, d_p.data(), s.groups, d_keys.data());
    }
    turn_back<D>(d_keys.data(), s, d_k);
    turn_back<D>(d_values.data(), s, d_v);
}

// Every head of every picture, in `threads` threads.
template <typename Head> void each_head(int batch, int heads, int threads, Head head) {
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int i = 0; i < batch * heads; i++) head(i / heads, i % heads);
}

template <int D> struct Narrow {
    static void forward(int batch, int threads, const Shape &s, const float *q, const float *k, const float *v, float *out, float *log_sums) {
        each_head(batch, s.heads, threads, [=](int b, int h) {
            const long query = b * s.queries * s.stride + h * D, key = b * s.keys * s.stride + h * D;
            forward_head<D>(q + query, k + key, v + key, out + query, log_sums + long(b * s.heads + h) * s.queries, s);
        });
    }

    static void backward(int batch, int threads, const Shape &s, const float *q, const float *k, const float *v, const float *out,
                         const float *log_sums, const float *d_out, float *d_q, float *d_k, float *d_v) {
        each_head(batch, s.heads, threads, [=](int b, int h) {
            const long query = b * s.queries * s.stride + h * D, key = b * s.keys * s.stride + h * D;
            backward_head<D>(q + query, k + key, v + key, out + query, log_sums + long(b * s.heads + h) * s.queries, d_out + query,
                             d_q + query, d_k + key, d_v + key, s);
        });
    }
};

Shape shape(int heads, int queries, int keys, int d) { return {queries, keys, heads, (keys + LANES - 1) / LANES, long(heads) * d}; }

}  // namespace

extern "C" {

// `d` is 8 or 12; attention.py asks for nothing else.
void attention_forward(int d, int batch, int heads, int queries, int keys, int threads, const float *q, const float *k, const float *v,
                       float *out, float *log_sums) {
    auto forward = d == 8 ? Narrow<8>::forward : Narrow<12>::forward;
    forward(batch, threads, shape(heads, queries, keys, d), q, k, v, out, log_sums);
}

void attention_backward(int d, int batch, int heads, int queries, int keys, int threads, const float *q, const float *k, const float *v,
                        const float *out, const float *log_sums, const float *d_out, float *d_q, float *d_k, float *d_v) {
    auto backward = d == 8 ? Narrow<8>::backward : Narrow<12>::backward;
    backward(batch, threads, shape(heads, queries, keys, d), q, k, v, out, log_sums, d_out, d_q, d_k, d_v);
}
}
