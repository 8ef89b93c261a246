// What the program prints: text for the user to stdout, everything else to stderr. Thread-safe.
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

// Escape sequences to stderr that leave the cursor where it is. Not while the text's cursor stands behind a full row of
// `columns`: many terminals forget that when the cursor goes and comes back, and the next character would replace the
// last one. Returns whether they were written.
bool draw_beside_text(std::string_view sequences, int columns);
// Is the terminal's cursor at the beginning of a line, as far as what was printed tells?
bool at_line_start();
// The user has ended a line.
void line_was_ended();

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
