#include "doctor/diagnosis_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/folder.h"
#include "format/messages.h"

namespace moxie {
namespace {

constexpr auto kRows = std::to_array<DiagnosisRow>({
#define MOXIE_DIAGNOSIS(code, severity, title, why, remedy) {code, FindingSeverity::severity, title, why, remedy},
#include "doctor/diagnoses.inc"
#undef MOXIE_DIAGNOSIS
});

constexpr auto kElsewhere = std::to_array<ElsewhereRow>({
#define MOXIE_ELSEWHERE(message, programs, cause, code) {message, programs, cause, code},
#include "doctor/elsewhere.inc"
#undef MOXIE_ELSEWHERE
});

// As bash takes it: quoted only where it has to be.
std::string shell_word(const std::string& text) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || std::string_view("/._-+:,=@%").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

void replace_all(std::string& text, std::string_view what, const std::string& with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

// The text between `begin` and the next slash, from `at` on; `at` moves behind it.
std::string_view component(std::string_view path, size_t& at) {
  const size_t end = std::min(path.find('/', at), path.size());
  const std::string_view part = path.substr(at, end - at);
  at = std::min(end + 1, path.size());
  return part;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? "\\|" : std::string(1, c);
  return out;
}

void add_rows(std::string& page, FindingSeverity severity) {
  page += "| code | what it is | why | what to type |\n|---|---|---|---|\n";
  for (const DiagnosisRow& row : kRows) {
    if (row.severity != severity || row.code == "notice") continue;
    std::string remedy(row.remedy);
    replace_all(remedy, "{pull}", "moxie pull REPO");
    replace_all(remedy, "{path}", "MODEL");
    replace_all(remedy, "{folder}", "FOLDER");
    replace_all(remedy, "{stem}", "FILE");
    replace_all(remedy, "{near}", "FILE");
    page += fmt::format("| `{}` | {} | {} | {} |\n", row.code, escaped(row.title), escaped(row.why),
                        remedy.empty() ? "" : fmt::format("`{}`", escaped(remedy)));
  }
}

}  // namespace

std::span<const DiagnosisRow> diagnosis_rows() {
  return kRows;
}

const DiagnosisRow* find_diagnosis(std::string_view code) {
  const auto found =
      std::find_if(kRows.begin(), kRows.end(), [&](const DiagnosisRow& row) { return row.code == code; });
  return found == kRows.end() ? nullptr : &*found;
}

std::span<const ElsewhereRow> elsewhere_rows() {
  return kElsewhere;
}

std::string pull_command(std::string_view path) {
  for (const auto& [prefix, command] : {std::pair<std::string_view, std::string_view>{"hf:", "moxie pull "},
                                        {"lmstudio:", "moxie pull "},
                                        {"ollama:", "ollama pull "}}) {
    if (path.starts_with(prefix)) return std::string(command) + shell_word(std::string(path.substr(prefix.size())));
  }
  // The hub's cache: .../models--org--name/snapshots/...
  constexpr std::string_view kModels = "models--";
  if (const size_t at = path.rfind("/models--"); at != std::string_view::npos) {
    size_t from = at + 1 + kModels.size();
    std::string repository(component(path, from));
    replace_all(repository, "--", "/");
    return "moxie pull " + shell_word(repository);
  }
  for (const std::string_view store : {"/.lmstudio/models/", "/lm-studio/models/"}) {
    const size_t at = path.find(store);
    if (at == std::string_view::npos) continue;
    size_t from = at + store.size();
    const std::string publisher(component(path, from));
    const std::string repository = fmt::format("{}/{}", publisher, component(path, from));
    const std::string file(component(path, from));
    return "moxie pull " + shell_word(file.empty() ? repository : repository + ":" + file);
  }
  if (path.find("/blobs/sha256-") != std::string_view::npos) return "ollama pull MODEL";
  return "moxie pull REPO";
}

std::string fill_remedy(std::string_view remedy, const std::string& path, const std::string& near_miss) {
  std::string out(remedy);
  // The hub's cache has a place of its own for what is pulled.
  if (path.find("/models--") != std::string::npos) replace_all(out, " --local-dir {folder}", "");
  const std::string folder = is_folder(path) ? path : parent_folder(path);
  const std::string stem = byte_split_stem(path);
  const std::string pull = pull_command(path);
  // Ollama has no files to name.
  if (const size_t at = out.find("{pull}"); at != std::string::npos && pull.starts_with("ollama")) out.resize(at + 6);
  replace_all(out, "{pull}", pull);
  replace_all(out, "{folder}", shell_word(folder));
  replace_all(out, "{stem}", shell_word(stem.empty() ? path : stem));
  replace_all(out, "{near}", near_miss.empty() ? "FILE" : shell_word(near_miss));
  replace_all(out, "{path}", shell_word(path));
  return out;
}

std::string troubleshooting_page() {
  std::string page =
      "# Troubleshooting\n\n"
      "`moxie doctor MODEL` says what is wrong with a model, why, and what to type next; it reads headers only. "
      "`moxie doctor` alone\nlooks at the machine. This page is what `moxie doctor --markdown` prints: the table that "
      "doctor looks things up in.\n\n"
      "An error of any command is one line: what is wrong, with the numbers, and what to do. The exit status says "
      "which kind: 1 a\ndefect of moxie, 2 wrong arguments, 3 not found, 4 corrupt file, 5 not supported, 6 input or "
      "output, 7 out of memory,\n8 unavailable, 130 interrupted.\n\n"
      "## What other programs say\n\n"
      "| message | program | true cause | see |\n|---|---|---|---|\n";
  for (const ElsewhereRow& row : kElsewhere) {
    page += fmt::format("| `{}` | {} | {} | {} |\n", escaped(row.message), escaped(row.programs), escaped(row.cause),
                        row.code.empty() ? "" : fmt::format("`{}`", row.code));
  }
  page += "\n## What keeps a model from loading\n\n";
  add_rows(page, FindingSeverity::error);
  page += "\n## It loads, and something is missing\n\n";
  add_rows(page, FindingSeverity::warning);
  page += "\n## It loads, and is unlike others\n\n";
  add_rows(page, FindingSeverity::info);
  page +=
      "\n## While it runs\n\n"
      "| what one sees | why | what to do |\n|---|---|---|\n"
      "| \"a memory budget of ... is too small\" | the weights beside the experts, the context and working memory "
      "alone need more | the least that works is in the line; a smaller `-c`, `-ctk q8_0` |\n"
      "| generation much slower than `moxie bench` of a smaller model | experts do not fit and are read from disk | "
      "`moxie plan` says what a budget gives: [memory.md](memory.md) |\n"
      "| one thread only | affinity or a control group allows one | `moxie doctor` shows the reason; `-t N` overrides "
      "|\n"
      "| nonsense text from an instruction model | its template was left out: `run` completes raw text | `moxie chat`, "
      "or write the template's markers into the prompt |\n"
      "| the text ends in mid-sentence | the context is full, which is said on standard error | a larger `-c`, or "
      "`--context-shift` |\n"
      "\nWhat the library notices besides is printed once on standard error; with `--verbose` also what it does.\n";
  return page;
}

}  // namespace moxie
