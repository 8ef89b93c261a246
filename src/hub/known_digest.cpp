#include "hub/known_digest.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "core/ascii.h"
#include "core/byte_reader.h"
#include "core/digest.h"
#include "core/fail.h"
#include "core/file.h"
#include "core/folder.h"

namespace moxie {
namespace {

constexpr size_t kSha256Digits = 64, kSha1Digits = 40;
constexpr uint64_t kChunkBytes = uint64_t{1} << 20;
constexpr uint64_t kMetadataBytesMax = 64 * 1024;

std::optional<KnownDigest> from_hex(std::string_view hex, const std::string& source) {
  if (!is_lower_hex(hex)) return std::nullopt;
  if (hex.size() == kSha256Digits) return KnownDigest{KnownDigest::Kind::sha256, std::string(hex), source};
  if (hex.size() == kSha1Digits) return KnownDigest{KnownDigest::Kind::git_sha1, std::string(hex), source};
  return std::nullopt;
}

// "blobs/<hex>" and "blobs/sha256-<hex>".
std::optional<KnownDigest> from_blob_name(const std::string& path) {
  if (file_name(parent_folder(path)) != "blobs") return std::nullopt;
  const std::string name = file_name(path);
  constexpr std::string_view kOllama = "sha256-";
  return from_hex(name.starts_with(kOllama) ? std::string_view(name).substr(kOllama.size()) : name, path);
}

// <folder>/.cache/huggingface/download/<name>.metadata: commit, etag, time.
std::optional<KnownDigest> from_download(const std::string& path) {
  const std::string metadata =
      join_path(parent_folder(path), ".cache/huggingface/download/" + file_name(path) + ".metadata");
  if (!is_file(metadata)) return std::nullopt;
  const auto text = read_text_file(metadata, kMetadataBytesMax);
  if (!text.ok()) return std::nullopt;
  const size_t first = text->find('\n');
  if (first == std::string::npos) return std::nullopt;
  const size_t second = text->find('\n', first + 1);
  return from_hex(std::string_view(*text).substr(first + 1, second - first - 1), metadata);
}

}  // namespace

std::optional<KnownDigest> known_digest(const std::string& path) {
  namespace fs = std::filesystem;
  constexpr int kLinksMax = 40;
  std::error_code failed;
  // Link by link: a blob may itself be a link, to one that repositories share and that is named by another hash.
  fs::path at = path;
  for (int link = 0; link < kLinksMax && fs::is_symlink(at, failed); ++link) {
    const fs::path target = fs::read_symlink(at, failed);
    if (failed) break;
    at = (at.parent_path() / target).lexically_normal();
    if (auto known = from_blob_name(at.string())) return known;
  }
  const fs::path whole = fs::canonical(path, failed);
  if (!failed) {
    if (auto known = from_blob_name(whole.string())) return known;
  }
  return from_download(path);
}

Result<std::string> digest_of_file(const std::string& path, KnownDigest::Kind kind,
                                   const std::function<bool(uint64_t more)>& progress) {
  MOXIE_TRY(const File file, File::open(path));
  Sha256 sha256;
  Sha1 sha1;
  BlockDigest& digest = kind == KnownDigest::Kind::sha256 ? static_cast<BlockDigest&>(sha256) : sha1;
  if (kind == KnownDigest::Kind::git_sha1) {
    digest.update(fmt::format("blob {}", file.bytes()));
    digest.update(std::string_view("\0", 1));
  }
  std::vector<std::byte> chunk;
  for (uint64_t at = 0; at < file.bytes(); at += chunk.size()) {
    chunk.resize(std::min(kChunkBytes, file.bytes() - at));
    MOXIE_TRY_VOID(file.read_at(at, chunk));
    digest.update(chunk);
    if (progress && !progress(chunk.size())) return fail(ErrorCode::cancelled, "stopped");
  }
  return kind == KnownDigest::Kind::sha256 ? sha256.hex() : sha1.hex();
}

}  // namespace moxie
