// Every diagnosis: its stable code, what it means, why it happens and what to type. The rows are data (diagnoses.inc,
// elsewhere.inc); docs/troubleshooting.md is printed from them. Plain functions, thread-safe.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "doctor/finding.h"

namespace moxie {

struct DiagnosisRow {
  std::string_view code;
  FindingSeverity severity;
  std::string_view title;
  std::string_view why;
  // A command. {path}, {folder}, {name} (of the file), {stem} (of a file in pieces), {near} (the near miss) and {pull}
  // (the command that downloads the model) are filled in.
  std::string_view remedy;
};

// A message of another program, and what it means.
struct ElsewhereRow {
  std::string_view message;
  std::string_view programs;
  std::string_view cause;
  std::string_view code;  // the diagnosis; empty: the file is fine, or it shows only in use
};

std::span<const DiagnosisRow> diagnosis_rows();
const DiagnosisRow* find_diagnosis(std::string_view code);
std::span<const ElsewhereRow> elsewhere_rows();

// `moxie pull REPO` with the repository's name, where the path lies in a store that tells it.
std::string pull_command(std::string_view path);
// The remedy with its placeholders filled in.
std::string fill_remedy(std::string_view remedy, const std::string& path, const std::string& near_miss);

// docs/troubleshooting.md.
std::string troubleshooting_page();

}  // namespace moxie
