#include "engine/saved_sequence.h"

#include <cstring>

#include "core/byte_reader.h"
#include "core/printable.h"
#include "core/xxh64.h"

namespace moxie {
namespace {

constexpr std::string_view kMagic = "moxieseq";
constexpr uint32_t kSequenceVersion = 1;
constexpr size_t kChecksumBytes = 8;

void put(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <typename T>
void put_number(std::vector<std::byte>& out, T value) {
  put(out, std::as_bytes(std::span(&value, 1)));
}

template <typename T>
void put_list(std::vector<std::byte>& out, const T& list) {
  put_number<uint64_t>(out, list.size());
  put(out, std::as_bytes(std::span(list.data(), list.size())));
}

// A length before values: no more than what is left can hold.
template <typename T>
Result<void> read_list(ByteReader& in, T& list) {
  constexpr size_t kSize = sizeof(typename T::value_type);
  MOXIE_TRY(const uint64_t count, in.read<uint64_t>());
  if (count > in.remaining() / kSize) {
    return fail(ErrorCode::corrupt, "{}: a list of {} values cannot lie in {} bytes", in.path(), count, in.remaining());
  }
  list.resize(static_cast<size_t>(count));
  return in.read_bytes(std::as_writable_bytes(std::span(list.data(), list.size())));
}

}  // namespace

std::vector<std::byte> write_saved_sequence(const SavedSequence& sequence) {
  std::vector<std::byte> out;
  out.reserve(sequence.state.size() + sequence.ids.size() * 4 + sequence.logits.size() * 4 + 128);
  put(out, std::as_bytes(std::span(kMagic)));
  put_number(out, kSequenceVersion);
  put_list(out, sequence.fingerprint);
  put_list(out, sequence.ids);
  put_list(out, sequence.logits);
  put_list(out, sequence.state);
  put_number(out, xxh64(out));
  return out;
}

Result<SavedSequence> read_saved_sequence(std::span<const std::byte> bytes, const ModelIdentity& model) {
  const std::string what = "the saved context";
  if (bytes.size() < kMagic.size() + kChecksumBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return fail(ErrorCode::corrupt, "{} of {} bytes is none that moxie wrote", what, bytes.size());
  }
  uint64_t checksum = 0;
  const auto content = bytes.first(bytes.size() - kChecksumBytes);
  std::memcpy(&checksum, bytes.data() + content.size(), kChecksumBytes);
  if (checksum != xxh64(content)) {
    return fail(ErrorCode::corrupt, "{} is damaged: its checksum is not that of its {} bytes", what, content.size());
  }
  const MemorySource source(what, {reinterpret_cast<const char*>(content.data()), content.size()});
  ByteReader in(source, kMagic.size());
  MOXIE_TRY(const uint32_t version, in.read<uint32_t>());
  if (version != kSequenceVersion) {
    return fail(ErrorCode::unsupported, "{} has version {}; this moxie reads {}", what, version, kSequenceVersion);
  }
  SavedSequence read;
  MOXIE_TRY_VOID(read_list(in, read.fingerprint));
  if (read.fingerprint != model.fingerprint) {
    return fail(ErrorCode::invalid_argument, "{} belongs to another model: its routers are {}, those of {} are {}",
                what, printable(read.fingerprint), printable(model.name), model.fingerprint);
  }
  MOXIE_TRY_VOID(read_list(in, read.ids));
  MOXIE_TRY_VOID(read_list(in, read.logits));
  MOXIE_TRY_VOID(read_list(in, read.state));
  return read;
}

}  // namespace moxie
