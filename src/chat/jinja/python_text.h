// Python's functions on text, for UTF-8: lengths and positions count characters. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moxie::jinja {

bool is_ascii(std::string_view text);
size_t count_characters(std::string_view text);
// The byte where character `index` begins; text.size() from the end on.
size_t byte_of(std::string_view text, size_t index, bool ascii);
std::vector<std::string_view> characters(std::string_view text);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);  // str.title()
std::string swap_case(std::string_view text);
std::string fold_case(std::string_view text);

bool is_space(uint32_t code);
bool is_alphabetic(uint32_t code);
bool is_upper(uint32_t code);
bool is_lower(uint32_t code);
bool is_decimal(uint32_t code);
bool is_digit(uint32_t code);
bool is_numeric(uint32_t code);
bool is_printable(uint32_t code);

// Without `set`, white space is stripped.
enum class Side { left, right, both };
std::string_view strip(std::string_view text, std::optional<std::string_view> set, Side side);

// `most` splits; negative: all.
std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator, int64_t most);
std::vector<std::string> split_right(std::string_view text, std::optional<std::string_view> separator, int64_t most);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);
// `most` replacements; negative: all.
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t most);

// repr() of a str.
std::string in_quotes(std::string_view text);
std::string html_escaped(std::string_view text);

}  // namespace moxie::jinja
