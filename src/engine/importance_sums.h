// A backend that sums, for every matrix of a model, the squares of what it is multiplied with, column by column, and
// leaves the computing to another backend. Belongs to the thread that computes.
#pragma once

#include <string>
#include <unordered_map>

#include "backend/backend.h"
#include "convert/importance.h"
#include "model/model.h"

namespace moxie {

class ImportanceSums final : public Backend {
 public:
  // `aside`: rows of guesses, which no token really goes through. output: the last matrix too.
  ImportanceSums(const Model& model, Backend& backend, const Activations& aside, bool output);

  // The sums so far, of the matrices that anything went through, by their names in GGUF.
  std::map<std::string, ImportanceEntry> entries() const;

  void matmul(std::span<const MatmulJob> jobs) override;

  std::string_view cpu_target() const override { return backend_.cpu_target(); }
  int threads() const override { return backend_.threads(); }
  void embed(const Matrix& table, std::span<const int32_t> ids, float* out) override {
    backend_.embed(table, ids, out);
  }
  void rms_norm(const float* x, const float* weight, float eps, int64_t rows, int64_t n, float* out) override {
    backend_.rms_norm(x, weight, eps, rows, n, out);
  }
  void rope(float* x, int64_t tokens, int heads, int head_dim, const RopeTable& table, int64_t first) override {
    backend_.rope(x, tokens, heads, head_dim, table, first);
  }
  void store_kv(const AttentionJob& job, const float* keys, const float* values) override {
    backend_.store_kv(job, keys, values);
  }
  void attention(std::span<const AttentionJob> jobs) override { backend_.attention(jobs); }
  void swiglu(const float* gate, const float* up, int64_t rows, int64_t n, float* out) override {
    backend_.swiglu(gate, up, rows, n, out);
  }
  void clamped_swiglu(const float* gate, const float* up, float alpha, float limit, int64_t rows, int64_t n,
                      float* out) override {
    backend_.clamped_swiglu(gate, up, alpha, limit, rows, n, out);
  }
  void add(float* x, const float* y, int64_t n) override { backend_.add(x, y, n); }
  void add_weighted(float* x, const float* y, const int32_t* slots, const float* weights, int64_t tokens, int top_k,
                    int64_t n) override {
    backend_.add_weighted(x, y, slots, weights, tokens, top_k, n);
  }
  void add_gated(float* x, const float* y, const float* gate, int64_t tokens, int64_t n) override {
    backend_.add_gated(x, y, gate, tokens, n);
  }
  void softmax(float* x, int64_t n) override { backend_.softmax(x, n); }

 private:
  // Where a matrix's sums go: it may be one of several in a tensor.
  struct Target {
    ImportanceEntry* entry;
    size_t matrix;
  };
  void expect(const Matrix& matrix, const std::string& name, size_t index, size_t matrices);
  void add(const MatmulJob& job, const Target& target);

  Backend& backend_;
  const Activations& aside_;
  std::map<std::string, ImportanceEntry> entries_;  // by stable address
  std::unordered_map<const Matrix*, Target> targets_;
  std::vector<double> sums_;  // of one call
};

}  // namespace moxie
