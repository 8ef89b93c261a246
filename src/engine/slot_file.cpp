#include "engine/slot_file.h"

#include <algorithm>
#include <array>

#include "core/fail.h"
#include "core/file.h"
#include "core/new_file.h"
#include "core/xxh64.h"
#include "engine/model_identity.h"

namespace moxie {
namespace {

// Then the ids, then the blocks, then XXH64 of all that.
struct SlotHeader {
  std::array<char, 8> magic = {'m', 'o', 'x', 'i', 'e', 's', 'l', '1'};
  std::array<char, kFingerprintDigits> fingerprint{};
  int64_t tokens = 0;
  uint64_t block_bytes = 0;
};
static_assert(sizeof(SlotHeader) == 40, "no padding, which would be checked with the rest");

uint64_t blocks_of(int64_t tokens) {
  return static_cast<uint64_t>((tokens + KvLayout::kBlockTokens - 1) / KvLayout::kBlockTokens);
}

uint64_t file_bytes(int64_t tokens, uint64_t block_bytes) {
  return sizeof(SlotHeader) + static_cast<uint64_t>(tokens) * sizeof(int32_t) + blocks_of(tokens) * block_bytes +
         sizeof(uint64_t);
}

SlotHeader header_of(std::string_view fingerprint, int64_t tokens, uint64_t block_bytes) {
  SlotHeader header;
  std::copy_n(fingerprint.begin(), std::min(fingerprint.size(), kFingerprintDigits), header.fingerprint.begin());
  header.tokens = tokens;
  header.block_bytes = block_bytes;
  return header;
}

Result<void> check_header(const std::string& path, const SlotHeader& header, uint64_t bytes, uint64_t block_bytes,
                          const SlotFileLimits& limits) {
  if (header.magic != SlotHeader{}.magic) return fail(ErrorCode::corrupt, "{}: is no saved slot", path);
  if (header.fingerprint != header_of(limits.fingerprint, 0, 0).fingerprint || header.block_bytes != block_bytes) {
    return fail(ErrorCode::invalid_argument,
                "{}: was saved with another model, cache type or build; the text has to be computed again", path);
  }
  if (header.tokens < 0 || header.tokens > limits.tokens) {
    return fail(ErrorCode::invalid_argument, "{}: holds {} tokens, and a context {}; give a larger -c", path,
                header.tokens, limits.tokens);
  }
  if (bytes != file_bytes(header.tokens, block_bytes)) {
    return fail(ErrorCode::corrupt, "{}: has {} bytes, and {} tokens take {}", path, bytes, header.tokens,
                file_bytes(header.tokens, block_bytes));
  }
  return {};
}

}  // namespace

Result<uint64_t> save_slot_file(const std::string& path, const std::string& fingerprint, std::span<const int32_t> ids,
                                const KvCache& state) {
  const uint64_t block_bytes = state.layout().block_bytes(), bytes = file_bytes(state.tokens(), block_bytes);
  MOXIE_TRY(NewFile file, NewFile::create(path, bytes, NewFile::Overwrite::yes));
  Xxh64 hash;
  uint64_t at = 0;
  const auto append = [&](std::span<const std::byte> part) {
    hash.update(part);
    at += part.size();
    return file.write_at(at - part.size(), part);
  };
  const SlotHeader header = header_of(fingerprint, state.tokens(), block_bytes);
  MOXIE_TRY_VOID(append(std::as_bytes(std::span(&header, 1))));
  MOXIE_TRY_VOID(append(std::as_bytes(ids.first(static_cast<size_t>(state.tokens())))));
  for (uint64_t block = 0; block < blocks_of(state.tokens()); ++block) {
    MOXIE_TRY_VOID(append({state.blocks()[block], block_bytes}));
  }
  const uint64_t checksum = hash.digest();
  MOXIE_TRY_VOID(file.write_at(at, std::as_bytes(std::span(&checksum, 1))));
  MOXIE_TRY_VOID(file.commit());
  return bytes;
}

Result<SavedSlot> load_slot_file(const std::string& path, const SlotFileLimits& limits, KvCache& state) {
  const uint64_t block_bytes = state.layout().block_bytes();
  MOXIE_TRY(const File file, File::open(path));
  SlotHeader header;
  if (file.bytes() < sizeof header) return fail(ErrorCode::corrupt, "{}: is no saved slot", path);
  MOXIE_TRY_VOID(file.read_at(0, std::as_writable_bytes(std::span(&header, 1))));
  MOXIE_TRY_VOID(check_header(path, header, file.bytes(), block_bytes, limits));
  Xxh64 hash;
  uint64_t at = 0;
  const auto take = [&](std::span<std::byte> into) -> Result<void> {
    MOXIE_TRY_VOID(file.read_at(at, into));
    hash.update(into);
    at += into.size();
    return {};
  };
  MOXIE_TRY_VOID(take(std::as_writable_bytes(std::span(&header, 1))));
  SavedSlot saved = {.bytes = file.bytes()};
  saved.ids.resize(static_cast<size_t>(header.tokens));
  MOXIE_TRY_VOID(take(std::as_writable_bytes(std::span(saved.ids))));
  MOXIE_TRY_VOID(state.reserve(header.tokens));
  for (uint64_t block = 0; block < blocks_of(header.tokens); ++block) {
    MOXIE_TRY_VOID(take({state.blocks()[block], block_bytes}));
  }
  uint64_t checksum = 0;
  MOXIE_TRY_VOID(file.read_at(at, std::as_writable_bytes(std::span(&checksum, 1))));
  const bool known = std::ranges::all_of(saved.ids, [&](int32_t id) { return id >= 0 && id < limits.vocabulary; });
  if (checksum != hash.digest() || !known) {
    return fail(ErrorCode::corrupt, "{}: is damaged: its checksum does not agree; remove it", path);
  }
  state.commit(header.tokens);
  return saved;
}

}  // namespace moxie
