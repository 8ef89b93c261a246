#include "doctor/report_json.h"

#include <nlohmann/json.hpp>

namespace moxie {

std::string report_json(const ModelReport& report) {
  using Json = nlohmann::ordered_json;
  Json object = {{"model", report.path},      {"loads", report.loads},
                 {"format", report.format},   {"family", report.family},
                 {"name", report.name},       {"types", report.types},
                 {"bytes", report.bytes},     {"parameters", report.parameters},
                 {"experts", report.experts}, {"experts_used", report.experts_used},
                 {"findings", Json::array()}};
  if (!report.loads) object["error"] = name(report.error);
  for (const Finding& finding : report.findings) {
    object["findings"].push_back({{"code", finding.code},
                                  {"severity", name(finding.severity)},
                                  {"title", finding.title},
                                  {"message", finding.message},
                                  {"found", finding.found},
                                  {"expected", finding.expected},
                                  {"near_miss", finding.near_miss},
                                  {"why", finding.why},
                                  {"remedy", finding.remedy},
                                  {"elsewhere", finding.elsewhere}});
  }
  return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace moxie
