#include "format/formats/gguf_pack.h"

#include <algorithm>
#include <array>

#include "core/fail.h"
#include "core/xxh64.h"
#include "format/config.h"
#include "format/messages.h"

namespace moxie {
namespace {

constexpr std::string_view kRemedy = "the file is damaged; copy it again, or convert its source again";
constexpr uint64_t kTypeBytes = 4, kFieldBytes = 8;

Error damaged(const std::string& path, std::string_view what) {
  return fail(ErrorCode::corrupt, "{}: {}: {}", path, what, kRemedy);
}

Result<void> check_layout(const std::string& path, const Metadata& metadata) {
  const auto layout = metadata.integer(pack_keys::kLayout);
  if (!layout) return damaged(path, fmt::format("{} is missing, or no whole number", pack_keys::kLayout));
  if (*layout == kPlainRowsLayout) return {};
  return fail(ErrorCode::unsupported,
              "{}: is a pack whose experts have layout {}; this moxie reads layout {} (plain rows) alone: convert the "
              "source again, or use a newer moxie",
              path, *layout, kPlainRowsLayout);
}

Result<void> check_header_bytes(const ByteSource& source, const GgufHeader& header) {
  const auto place = std::find_if(header.keys.begin(), header.keys.end(),
                                  [](const GgufKeyPlace& key) { return key.key == pack_keys::kHeader; });
  const MetadataValue* value = header.metadata.find(pack_keys::kHeader);
  const auto* small = value != nullptr ? std::get_if<int64_t>(value) : nullptr;
  const auto* large = value != nullptr ? std::get_if<uint64_t>(value) : nullptr;
  if ((small == nullptr && large == nullptr) || place->end - place->value != kTypeBytes + kFieldBytes) {
    return damaged(source.path(), fmt::format("{} is no number of 64 bits", pack_keys::kHeader));
  }
  const uint64_t expected = large != nullptr ? *large : static_cast<uint64_t>(*small);
  MOXIE_TRY(const uint64_t found, pack_header_checksum(source, header.data_start, place->value + kTypeBytes));
  if (found == expected) return {};
  return damaged(source.path(),
                 fmt::format("the checksum of its header is {:016x}, but its bytes give {:016x}", expected, found));
}

}  // namespace

bool is_pack(const GgufHeader& header) {
  // Any of them: one that is damaged must not make another kind of file.
  const auto first = header.metadata.all().lower_bound(pack_keys::kPrefix);
  return first != header.metadata.all().end() && first->first.starts_with(pack_keys::kPrefix);
}

Result<uint64_t> pack_header_checksum(const ByteSource& source, uint64_t data_start, uint64_t field) {
  ByteReader in(source);
  Xxh64 hash;
  std::array<std::byte, 65536> buffer;
  const auto take = [&](uint64_t end) -> Result<void> {
    while (in.position() < end) {
      const std::span<std::byte> piece(buffer.data(), std::min<uint64_t>(buffer.size(), end - in.position()));
      MOXIE_TRY_VOID(in.read_bytes(piece));
      hash.update(piece);
    }
    return {};
  };
  MOXIE_TRY_VOID(take(field));
  MOXIE_TRY_VOID(in.read_bytes(std::span(buffer).first(kFieldBytes)));
  hash.update(std::array<std::byte, kFieldBytes>{});
  MOXIE_TRY_VOID(take(data_start));
  return hash.digest();
}

Result<void> check_pack(const ByteSource& source, GgufHeader& header) {
  const std::string& path = source.path();
  MOXIE_TRY_VOID(check_layout(path, header.metadata));
  if (header.metadata.integer("general.alignment") != static_cast<int64_t>(kPackAlignment)) {
    return damaged(path, fmt::format("a pack has general.alignment {}", kPackAlignment));
  }
  if (header.tensors.empty()) return damaged(path, "a pack without tensors");
  if (header.split_count() > 1) return damaged(path, "a pack is one file, and split.count says otherwise");
  const auto checksums = header.metadata.integers(pack_keys::kChecksums);
  if (!checksums || checksums->size() != header.tensors.size()) {
    return damaged(path, fmt::format("{} has {} entries for {} tensors", pack_keys::kChecksums,
                                     checksums ? checksums->size() : 0, header.tensors.size()));
  }
  for (size_t i = 0; i < checksums->size(); ++i) header.tensors[i].checksum = static_cast<uint64_t>((*checksums)[i]);
  return check_header_bytes(source, header);
}

Result<void> restore_source(WeightFiles& files) {
  files.format = fmt::format("pack (layout {}, {})", kPlainRowsLayout, files.format);
  files.pack_layout = kPlainRowsLayout;
  const std::string names = files.metadata.text(pack_keys::kNames).value_or("");
  if (names == "gguf") return {};
  if (names != "hugging_face") {
    return damaged(files.path,
                   fmt::format("{} is \"{}\", neither gguf nor hugging_face", pack_keys::kNames, printable(names)));
  }
  files.scheme = NameScheme::hugging_face;
  files.tokenizer = {};
  Metadata own;
  for (const auto& [key, value] : files.metadata.all()) {
    if (!key.starts_with(pack_keys::kPrefix)) continue;
    const auto* text = std::get_if<std::string>(&value);
    if (text != nullptr && key.starts_with(pack_keys::kFile)) {
      files.tokenizer.files[key.substr(pack_keys::kFile.size())] = *text;
    } else if (text != nullptr && key.starts_with(pack_keys::kTemplate)) {
      files.tokenizer.chat_templates[key.substr(pack_keys::kTemplate.size())] = *text;
    } else {
      own.set(key, value);
    }
  }
  const auto config = files.tokenizer.files.find("config.json");
  if (config == files.tokenizer.files.end()) return damaged(files.path, "config.json is missing in it");
  files.config = std::move(config->second);
  files.tokenizer.files.erase(config);
  MOXIE_TRY(files.metadata, parse_config(files.config, files.path + ": config.json"));
  for (const auto& [key, value] : own.all()) files.metadata.set(key, value);
  return add_configured_tokens(files.metadata, files.path, files.tokenizer);
}

}  // namespace moxie
