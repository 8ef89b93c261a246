#include "doctor/finding.h"

#include <algorithm>

#include "core/check.h"
#include "doctor/diagnosis_table.h"

namespace moxie {
namespace {

// The row for an error that says nothing of itself.
std::string_view general_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::corrupt:
      return "damaged";
    case ErrorCode::not_found:
      return "not-found";
    case ErrorCode::out_of_memory:
      return "out-of-memory";
    case ErrorCode::io:
      return "unreadable";
    default:
      return "unsupported";
  }
}

}  // namespace

std::string_view name(FindingSeverity severity) {
  switch (severity) {
    case FindingSeverity::info:
      return "info";
    case FindingSeverity::warning:
      return "warning";
    case FindingSeverity::error:
      return "error";
  }
  return "error";
}

void Findings::add(const Diagnosis& diagnosis, std::string message) {
  const DiagnosisRow* row = find_diagnosis(diagnosis.code);
  MOXIE_CHECK(row != nullptr);
  Finding finding{.code = diagnosis.code,
                  .severity = row->severity,
                  .title = std::string(row->title),
                  .message = std::move(message),
                  .found = diagnosis.found,
                  .expected = diagnosis.expected,
                  .near_miss = diagnosis.near_miss,
                  .why = std::string(row->why),
                  .remedy = fill_remedy(row->remedy, path_, diagnosis.near_miss)};
  for (const ElsewhereRow& said : elsewhere_rows()) {
    if (said.code == row->code) finding.elsewhere.push_back(std::string(said.message));
  }
  all_.push_back(std::move(finding));
}

void Findings::add(const Error& error) {
  add(error.diagnosis ? *error.diagnosis : Diagnosis{.code = std::string(general_code(error.code))}, error.message);
}

void Findings::notice(std::string sentence) {
  add(Diagnosis{.code = "notice"}, std::move(sentence));
}

bool Findings::any_error() const {
  return std::any_of(all_.begin(), all_.end(),
                     [](const Finding& finding) { return finding.severity == FindingSeverity::error; });
}

bool Findings::has(std::string_view code) const {
  return std::any_of(all_.begin(), all_.end(), [&](const Finding& finding) { return finding.code == code; });
}

}  // namespace moxie
