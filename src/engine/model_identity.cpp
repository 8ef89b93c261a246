#include "engine/model_identity.h"

#include <fmt/format.h>

#include <cstring>
#include <filesystem>

namespace moxie {
namespace {

uint64_t mixed(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

}  // namespace

ModelIdentity identify(const Model& model, std::string_view path) {
  const Hyperparameters& hp = model.hp();
  uint64_t hash = mixed(static_cast<uint64_t>(hp.router.used), static_cast<uint64_t>(hp.layers));
  for (int64_t layer = 0; layer < hp.layers; ++layer) {
    const Matrix& router = model.matrix(Role::router, layer);
    if (!router) continue;
    hash = mixed(hash, static_cast<uint64_t>(layer));
    hash = mixed(hash, router.bytes());
    for (uint64_t at = 0; at < router.bytes(); at += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, router.data + at, std::min<uint64_t>(sizeof word, router.bytes() - at));
      hash = mixed(hash, word);
    }
  }
  const std::filesystem::path whole(path);
  return {.name = (whole.has_filename() ? whole : whole.parent_path()).filename().string(),
          .fingerprint = fmt::format("{:016x}", hash),
          .layers = static_cast<int>(hp.layers),
          .experts = static_cast<int>(hp.router.experts),
          .used = static_cast<int>(hp.router.used)};
}

}  // namespace moxie
