#include "format/messages.h"

#include <algorithm>

#include "core/fail.h"
#include "core/folder.h"

namespace moxie {
namespace {

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_piece_number(std::string_view text) {
  return !text.empty() && (std::all_of(text.begin(), text.end(), is_digit) ||
                           (text.size() <= 3 && std::all_of(text.begin(), text.end(), is_lower)));
}

// "-split-a", ".part1of3", ".part-aa", ".aa", ".00"
bool is_piece_suffix(std::string_view suffix) {
  if (suffix.starts_with("-split-")) return is_piece_number(suffix.substr(7));
  if (suffix.starts_with(".part")) {
    suffix.remove_prefix(5);
    if (suffix.starts_with("-") || suffix.starts_with("_")) suffix.remove_prefix(1);
    return is_piece_number(suffix.substr(0, suffix.find("of")));
  }
  return suffix.size() >= 3 && suffix.size() <= 4 && suffix.front() == '.' && is_piece_number(suffix.substr(1));
}

// Where the byte-split suffix begins, npos where there is none.
size_t byte_split_suffix(std::string_view name) {
  for (const std::string_view ending : {".gguf", ".safetensors"}) {
    const size_t at = name.rfind(ending);
    if (at != std::string_view::npos && is_piece_suffix(name.substr(at + ending.size()))) return at + ending.size();
  }
  return std::string_view::npos;
}

}  // namespace

Error add_remedy(Error error, std::string_view remedy) {
  error.message += "; ";
  error.message += remedy;
  return error;
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

std::string byte_split_stem(const std::string& path) {
  const size_t at = byte_split_suffix(file_name(path));
  if (at == std::string::npos) return {};
  return path.substr(0, path.size() - file_name(path).size() + at);
}

std::string byte_split_remedy(const std::string& path) {
  const std::string name = file_name(path);
  const std::string stem = name.substr(0, byte_split_suffix(name));
  return fmt::format(
      "it is one piece of a file that was cut in bytes; put the pieces together in their order first: cat $(ls -v "
      "{}?*) > {}",
      stem, stem);
}

Error truncated_error(const std::string& path, uint64_t expected_bytes, uint64_t found_bytes) {
  const std::string remedy = is_byte_split_name(file_name(path))
                                 ? byte_split_remedy(path)
                                 : "the download is incomplete: resume it, or download the file again";
  return fail(Diagnosis{.code = is_byte_split_name(file_name(path)) ? "byte-split" : "truncated",
                        .found = fmt::format("{} bytes", found_bytes),
                        .expected = fmt::format("{} bytes", expected_bytes)},
              ErrorCode::corrupt, "{}: expected {} bytes, found {}: {} missing; {}", path, expected_bytes, found_bytes,
              expected_bytes - found_bytes, remedy);
}

}  // namespace moxie
