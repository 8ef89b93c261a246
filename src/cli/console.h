// What the program prints: text for the user to stdout, everything else to stderr. One thread prints at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/printable.h"  // human_bytes
#include "moxie/error.h"

namespace moxie::cli {

// To stdout, at once. Error io when it cannot be written (disk full, closed pipe).
Result<void> print(std::string_view text);
// "moxie: TEXT" on stderr.
void note(std::string_view text);
// TEXT as it is, on stderr.
void diagnose(std::string_view text);

enum class Colour { normal, prompt, user };
// Escape sequence that switches stdout to a colour; empty unless enabled.
std::string_view colour_sequence(Colour colour, bool enabled);

std::string human_count(uint64_t count);    // "46.7 B"
std::string human_seconds(double seconds);  // "0.31 s", "2 min 5 s"

// Everything in a file, or on standard input for "-". Errors: not_found, io.
Result<std::string> read_text(const std::string& path);
// TEXT as the whole of a file. Errors: io.
Result<void> write_text(const std::string& path, std::string_view text);

// \n \t \r \\ \" \' \xHH; anything else stays as it is.
std::string resolve_escapes(std::string_view text);

}  // namespace moxie::cli
