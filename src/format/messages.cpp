#include "format/messages.h"

#include <algorithm>
#include <regex>

#include "core/fail.h"
#include "core/folder.h"

namespace moxie {
namespace {

constexpr size_t kPrintableMax = 120;
constexpr size_t kPathForRegexMax = 4096;  // std::regex recurses with the length of its input

// Length of the UTF-8 sequence that begins here, 0 where there is none.
size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xF0 && lead < 0xF5 ? 4
                        : lead >= 0xE0 && lead < 0xF0 ? 3
                        : lead >= 0xC2 && lead < 0xE0 ? 2
                                                      : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

// Where the byte-split suffix begins, npos where there is none.
size_t byte_split_suffix(std::string_view name) {
  if (name.size() > kPathForRegexMax) return std::string_view::npos;
  static const std::regex suffix(
      R"((-split-[a-z]{1,3}|\.part[-_]?[0-9]+(of[0-9]+)?|\.part[-_]?[a-z]{1,2}|\.[a-z]{2}|\.[0-9]{1,3})$)",
      std::regex::icase);
  std::cmatch match;
  if (!std::regex_search(name.data(), name.data() + name.size(), match, suffix)) return std::string_view::npos;
  const size_t at = static_cast<size_t>(match.position(0));
  const std::string_view stem = name.substr(0, at);
  return stem.ends_with(".gguf") || stem.ends_with(".safetensors") ? at : std::string_view::npos;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= kPrintableMax) return out + "...";
    const size_t length = utf8_length(text);
    const auto byte = static_cast<unsigned char>(text.front());
    if (length == 0 || byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

std::string name_some(const std::vector<std::string>& names, size_t limit) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < limit; ++i) {
    if (i > 0) out += ", ";
    out += printable(names[i]);
  }
  if (names.size() > limit) out += fmt::format(" and {} more", names.size() - limit);
  return out;
}

bool is_byte_split_name(std::string_view name) {
  return byte_split_suffix(name) != std::string_view::npos;
}

std::string byte_split_remedy(const std::string& path) {
  const std::string name = file_name(path);
  const std::string stem = name.substr(0, byte_split_suffix(name));
  return fmt::format("it is one piece of a file that was cut in bytes; put the pieces together first: cat {}?* > {}",
                     stem, stem);
}

Error truncated_error(const std::string& path, uint64_t expected_bytes, uint64_t found_bytes) {
  const std::string remedy = is_byte_split_name(file_name(path))
                                 ? byte_split_remedy(path)
                                 : "the download is incomplete: resume it, or download the file again";
  return fail(ErrorCode::corrupt, "{}: expected {} bytes, found {}: {} missing; {}", path, expected_bytes, found_bytes,
              expected_bytes - found_bytes, remedy);
}

}  // namespace moxie
