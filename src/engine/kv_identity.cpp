#include "engine/kv_identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/xxh64.h"
#include "engine/model_identity.h"

namespace moxie {
namespace {

constexpr uint64_t kLooked = 4096;  // bytes of each matrix

class Hash {
 public:
  void text(std::string_view text) {
    number(text.size());
    hash_.update(std::as_bytes(std::span(text.data(), text.size())));
  }
  template <typename T>
  void number(T value) {
    const auto wide = static_cast<uint64_t>(value);
    hash_.update(std::as_bytes(std::span(&wide, 1)));
  }
  void bytes(std::span<const std::byte> bytes) {
    number(bytes.size());
    hash_.update(bytes);
  }
  uint64_t digest() const { return hash_.digest(); }

 private:
  Xxh64 hash_;
};

void add_files(Hash& hash, std::span<const std::string> paths) {
  for (const std::string& path : paths) {
    std::error_code none;
    hash.number(std::filesystem::file_size(path, none));
    hash.number(std::filesystem::last_write_time(path, none).time_since_epoch().count());
  }
}

void add_matrix(Hash& hash, const Matrix& matrix) {
  if (!matrix) return;
  hash.text(matrix.type->name);
  hash.bytes({matrix.data, std::min<uint64_t>(matrix.bytes(), kLooked)});
}

void add_weights(Hash& hash, const Model& model) {
  add_matrix(hash, model.matrix(Role::token_embd));
  for (int64_t layer = 0; layer < model.hp().layers; ++layer) {
    for (const Role role : {Role::attn_q, Role::attn_k, Role::attn_v, Role::attn_output}) {
      add_matrix(hash, model.matrix(role, layer));
    }
  }
}

}  // namespace

std::string kv_fingerprint(const Engine::Impl& engine) {
  const Model& model = *engine.model;
  const KvLayout& layout = engine.kv_pool->layout();
  Hash hash;
  hash.text(MOXIE_VERSION);
  hash.text(engine.runtime.cpu_target);
  hash.number(engine.runtime.fast ? 1 : 0);
  hash.text(model.family().name);
  hash.text(identify(model, engine.model_info.path).fingerprint);
  for (const int64_t number : {KvLayout::kVersion, static_cast<int64_t>(layout.type), layout.layers, layout.kv_heads,
                               layout.head_dim, static_cast<int64_t>(KvLayout::kBlockTokens), model.hp().vocabulary}) {
    hash.number(number);
  }
  for (const int64_t window : model.hp().window) hash.number(window);
  hash.bytes(std::as_bytes(model.rope().frequencies()));
  const double magnitude = model.rope().magnitude();
  hash.bytes(std::as_bytes(std::span(&magnitude, 1)));
  add_files(hash, engine.weight_paths);
  if (!engine.options.quantize.empty()) hash.text(engine.options.quantize);  // types of experts differ by it alone
  add_weights(hash, model);
  return fmt::format("{:016x}", hash.digest());
}

}  // namespace moxie
