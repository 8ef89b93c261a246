#include "cli/console.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "cli/text_column.h"
#include "core/fail.h"
#include "core/terminal.h"

namespace moxie::cli {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::mutex console_mutex;
TextColumn text_column;  // of the terminal's cursor, where text goes to one

}  // namespace

Result<void> print(std::string_view text) {
  const std::lock_guard lock(console_mutex);
  static const bool terminal = is_terminal(StandardStream::output);
  if (terminal) text_column.add(text);
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
  return fail(ErrorCode::io, "standard output: {}", std::strerror(errno));
}

void note(std::string_view text) {
  diagnose(fmt::format("moxie: {}\n", text));
}

void diagnose(std::string_view text) {
  const std::lock_guard lock(console_mutex);
  text_column.add(text);
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

bool draw_beside_text(std::string_view sequences, int columns) {
  const std::lock_guard lock(console_mutex);
  text_column.set_row(columns);
  if (text_column.fills_row()) return false;
  std::fwrite(sequences.data(), 1, sequences.size(), stderr);
  std::fflush(stderr);
  return true;
}

bool at_line_start() {
  const std::lock_guard lock(console_mutex);
  return text_column.at_line_start();
}

void line_was_ended() {
  const std::lock_guard lock(console_mutex);
  text_column.add("\n");
}

std::string_view colour_sequence(Colour colour, bool enabled) {
  if (!enabled) return {};
  switch (colour) {
    case Colour::normal:
      return "\x1b[0m";
    case Colour::prompt:
      return "\x1b[33m";
    case Colour::user:
      return "\x1b[1m\x1b[32m";
  }
  return {};
}

std::string human_count(uint64_t count) {
  if (count < 1000) return fmt::format("{}", count);
  constexpr const char* kUnits[] = {"", "K", "M", "B", "T"};
  double value = static_cast<double>(count);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 60) return fmt::format("{:.2f} s", seconds);
  const auto whole = static_cast<int64_t>(seconds);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
}

Result<std::string> read_text(const std::string& path) {
  const bool standard_input = path == "-";
  std::FILE* file = standard_input ? stdin : std::fopen(path.c_str(), "rb");
  if (!file) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::not_found : ErrorCode::io;
    return fail(code, "{}: {}", path, std::strerror(errno));
  }
  std::string text;
  char piece[65536];
  size_t got = 0;
  while ((got = std::fread(piece, 1, sizeof piece, file)) > 0) text.append(piece, got);
  const bool failed = std::ferror(file) != 0;
  const int error = errno;
  if (!standard_input) std::fclose(file);
  if (failed) return fail(ErrorCode::io, "{}: {}", standard_input ? "standard input" : path, std::strerror(error));
  return text;
}

Result<void> write_text(const std::string& path, std::string_view text) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) return fail(ErrorCode::io, "{}: cannot write: {}", path, std::strerror(errno));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const int write_error = errno;
  if (std::fclose(file) == 0 && written) return {};
  return fail(ErrorCode::io, "{}: cannot write: {}", path, std::strerror(written ? errno : write_error));
}

std::string resolve_escapes(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char kind = text[++i];
    switch (kind) {
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 'r':
        out += '\r';
        break;
      case '\\':
        out += '\\';
        break;
      case '"':
        out += '"';
        break;
      case '\'':
        out += '\'';
        break;
      case 'x': {
        const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high >= 0 && low >= 0) {
          out += static_cast<char>(high * 16 + low);
          i += 2;
        } else {
          out += "\\x";
        }
        break;
      }
      default:
        out += '\\';
        out += kind;
    }
  }
  return out;
}

}  // namespace moxie::cli
