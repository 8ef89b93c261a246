#include "store/routing_trace.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/fail.h"
#include "core/file.h"
#include "core/printable.h"

namespace moxie {
namespace {

// A header beyond these is damaged: together they bound what a table of all experts takes (about 30 MB).
constexpr int64_t kLayersMax = 4096, kExpertsMax = 65536, kAllExpertsMax = int64_t{1} << 20;
constexpr int64_t kStepMax = int64_t{1} << 53;
constexpr std::string_view kOwnHeader = "# moxie-trace ";

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || value < 0) return std::nullopt;
  return value;
}

// The next piece up to `separator`, which is taken off with it.
std::string_view next_piece(std::string_view& text, char separator) {
  const size_t at = text.find(separator);
  const std::string_view piece = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return piece;
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view name) : rest_(text) { trace_.name = name; }

  Result<RoutingTrace> parse() {
    const std::string_view first = rest_.substr(0, rest_.find('\n'));
    if (!first.starts_with("# ")) return no_trace(first);
    MOXIE_TRY(const std::string_view header, next_line());
    if (header.starts_with(kOwnHeader)) {
      std::string_view words = header.substr(kOwnHeader.size());
      if (const std::string_view version = next_piece(words, ' '); version != kTraceVersion) {
        return fail(ErrorCode::unsupported, "{}: is a trace of version {}; this program reads version {}", trace_.name,
                    printable(version), kTraceVersion);
      }
      MOXIE_TRY_VOID(parse_shape(words));
      MOXIE_TRY_VOID(parse_lines(&Parser::parse_own_line));
    } else if (header.find(" layers=") != std::string_view::npos) {
      MOXIE_TRY_VOID(parse_shape(header));
      const bool cells = rest_.starts_with("p ") || rest_.starts_with("d ");
      MOXIE_TRY_VOID(parse_lines(cells ? &Parser::parse_cells : &Parser::parse_groups));
      finish_prompt();
    } else {
      return no_trace(header);
    }
    return std::move(trace_);
  }

 private:
  using ParseLine = Result<void> (Parser::*)(std::string_view line);

  template <typename... Args>
  Error corrupt(fmt::format_string<Args...> format, Args&&... args) const {
    return fail(ErrorCode::corrupt, "{}, line {}: {}", trace_.name, line_,
                fmt::format(format, std::forward<Args>(args)...));
  }

  Error no_trace(std::string_view first_line) const {
    return fail(ErrorCode::corrupt,
                "{}: is no routing trace: its first line is '{}', not '{}{} layers=L experts=E top_k=K'", trace_.name,
                printable(first_line), kOwnHeader, kTraceVersion);
  }

  Result<std::string_view> next_line() {
    ++line_;
    if (rest_.find('\n') == std::string_view::npos) {
      return corrupt("ends without a newline, the recording was cut; remove this line to use what stands before it");
    }
    return next_piece(rest_, '\n');
  }

  Result<void> parse_lines(ParseLine parse_line) {
    while (!rest_.empty()) {
      MOXIE_TRY(const std::string_view line, next_line());
      if (line.starts_with('#')) return corrupt("is a second header; give traces that were joined as single files");
      MOXIE_TRY_VOID((this->*parse_line)(line));
    }
    return {};
  }

  // layers=L experts=E top_k=K among other words.
  Result<void> parse_shape(std::string_view words) {
    const auto number = [&](std::string_view key, int64_t limit) -> Result<int> {
      for (std::string_view rest = words; !rest.empty();) {
        std::string_view word = next_piece(rest, ' ');
        if (!word.starts_with(key)) continue;
        word.remove_prefix(key.size());
        const auto value = whole_number(word);
        if (!value || *value < 1 || *value > limit) {
          return corrupt("{}{} is no number from 1 to {}; record the trace again", key, printable(word), limit);
        }
        return static_cast<int>(*value);
      }
      return corrupt("the header does not say {}; record the trace again", key);
    };
    MOXIE_TRY(trace_.shape.layers, number("layers=", kLayersMax));
    MOXIE_TRY(trace_.shape.experts, number("experts=", std::min(kExpertsMax, kAllExpertsMax / trace_.shape.layers)));
    MOXIE_TRY(trace_.shape.top_k, number("top_k=", trace_.shape.experts));
    seen_.assign(static_cast<size_t>(trace_.shape.experts), 0);
    return {};
  }

  // step TAB p|d TAB layer TAB id,id,...
  Result<void> parse_own_line(std::string_view line) {
    if (std::count(line.begin(), line.end(), '\t') != 3) {
      return corrupt("'{}' has {} fields instead of 4 (step, p or d, layer, ids) separated by tabs; remove the line",
                     printable(line), std::count(line.begin(), line.end(), '\t') + 1);
    }
    const std::string_view step_text = next_piece(line, '\t'), kind = next_piece(line, '\t'),
                           layer_text = next_piece(line, '\t');
    const auto step = whole_number(step_text);
    if (!step || *step > kStepMax) {
      return corrupt("step '{}' is no number from 0 to {}; remove the line", printable(step_text), kStepMax);
    }
    if (kind != "p" && kind != "d") {
      return corrupt("kind '{}' is neither p (prompt) nor d (decode); remove the line", printable(kind));
    }
    const auto layer = whole_number(layer_text);
    if (!layer || *layer >= trace_.shape.layers) {
      return corrupt("layer '{}' is none of 0 to {}; remove the line or mend layers= in the header",
                     printable(layer_text), trace_.shape.layers - 1);
    }
    begin_event(*step, kind == "p" ? EventKind::prefill : EventKind::decode, static_cast<int32_t>(*layer));
    if (line.empty()) return corrupt("the event has no experts; remove the line");
    while (!line.empty()) {
      const bool last = line.find(',') == std::string_view::npos;
      const std::string_view text = next_piece(line, ',');
      if (!last && line.empty()) return corrupt("the ids end with a comma; the recording was cut, remove the line");
      MOXIE_TRY_VOID(add_id(whole_number(text), text));
    }
    return end_event();
  }

  // 24 groups of base-32 digits separated by blanks, one a layer; a tab; the token.
  Result<void> parse_groups(std::string_view line) {
    MOXIE_TRY_VOID(limit_experts(32, "base-32 digits"));
    std::string_view groups = next_piece(line, '\t');
    for (int32_t layer = 0; layer < trace_.shape.layers; ++layer) {
      const std::string_view group = next_piece(groups, ' ');
      if (group.size() != static_cast<size_t>(trace_.shape.top_k)) {
        return corrupt("layer {} has '{}' instead of {} base-32 digits; remove the line", layer, printable(group),
                       trace_.shape.top_k);
      }
      begin_event(step_, EventKind::decode, layer);
      for (size_t i = 0; i < group.size(); ++i) MOXIE_TRY_VOID(add_digit(group.substr(i, 1)));
      MOXIE_TRY_VOID(end_event());
    }
    if (!groups.empty()) {
      return corrupt("has more than the {} groups of layers= in the header; mend the header", trace_.shape.layers);
    }
    ++step_;
    return {};
  }

  // p or d, then a cell AB:WWW for each layer: the experts as digits, and the weight of the first. ..:... is a lost
  // record.
  Result<void> parse_cells(std::string_view line) {
    MOXIE_TRY_VOID(limit_experts(10, "decimal digits"));
    const std::string_view kind = next_piece(line, ' ');
    if (kind != "p" && kind != "d") {
      return corrupt("kind '{}' is neither p (prompt) nor d (decode); remove the line", printable(kind));
    }
    const bool prompt = kind == "p";
    if (!prompt) finish_prompt();
    const auto digits = static_cast<size_t>(trace_.shape.top_k);
    for (int32_t layer = 0; layer < trace_.shape.layers; ++layer) {
      const std::string_view cell = next_piece(line, ' ');
      const bool lost = cell.starts_with('.');
      const auto fits = [&](char c) { return lost ? c == '.' : c >= '0' && c <= '9'; };
      if (cell.size() < digits + 2 || cell.size() > digits + 5 || cell[digits] != ':' ||
          !std::all_of(cell.begin(), cell.begin() + static_cast<std::ptrdiff_t>(digits), fits) ||
          !std::all_of(cell.begin() + static_cast<std::ptrdiff_t>(digits) + 1, cell.end(), fits)) {
        return corrupt("layer {} has '{}' instead of {} digits, a colon and a weight; remove the line", layer,
                       printable(cell), digits);
      }
      if (lost) {
        ++trace_.lost;
        continue;
      }
      begin_event(step_, EventKind::decode, layer);
      for (size_t i = 0; i < digits; ++i) MOXIE_TRY_VOID(add_digit(cell.substr(i, 1)));
      MOXIE_TRY_VOID(end_event());
      if (prompt) move_to_prompt();
    }
    if (!line.empty()) {
      return corrupt("has more than the {} cells of layers= in the header; mend the header", trace_.shape.layers);
    }
    if (!prompt) ++step_;
    return {};
  }

  Result<void> limit_experts(int limit, std::string_view digits) const {
    if (trace_.shape.experts <= limit) return {};
    return fail(ErrorCode::unsupported, "{}: the header says experts={}; experts written as {} go up to {}",
                trace_.name, trace_.shape.experts, digits, limit);
  }

  void begin_event(int64_t step, EventKind kind, int32_t layer) {
    trace_.events.push_back({.step = step, .layer = layer, .kind = kind, .first = trace_.all_ids.size()});
    ++mark_;
  }

  Result<void> add_digit(std::string_view digit) {
    const char c = digit[0];
    if (c >= '0' && c <= '9') return add_id(c - '0', digit);
    if (c >= 'a' && c <= 'v') return add_id(c - 'a' + 10, digit);
    return add_id(std::nullopt, digit);
  }

  Result<void> add_id(std::optional<int64_t> id, std::string_view text) {
    if (!id || *id >= trace_.shape.experts) {
      return corrupt("expert '{}' of layer {} is none of 0 to {}; remove the line or mend experts= in the header",
                     printable(text), trace_.events.back().layer, trace_.shape.experts - 1);
    }
    uint64_t& seen = seen_[static_cast<size_t>(*id)];
    if (seen == mark_) {
      return corrupt("expert {} stands twice in layer {}; remove the line", *id, trace_.events.back().layer);
    }
    seen = mark_;
    trace_.all_ids.push_back(static_cast<int32_t>(*id));
    return {};
  }

  Result<void> end_event() {
    TraceEvent& event = trace_.events.back();
    event.count = static_cast<uint32_t>(trace_.all_ids.size() - event.first);
    const auto ids = trace_.ids(event);
    if (event.kind == EventKind::prefill && !std::is_sorted(ids.begin(), ids.end())) {
      return corrupt("the experts of a prompt are not in ascending order; record the trace again");
    }
    return {};
  }

  // Takes the last event back: tokens of a prompt become one event a layer, as an engine computes them.
  void move_to_prompt() {
    const TraceEvent event = trace_.events.back();
    prompt_.resize(static_cast<size_t>(trace_.shape.layers) * static_cast<size_t>(trace_.shape.experts));
    for (const int32_t id : trace_.ids(event)) {
      prompt_[static_cast<size_t>(event.layer) * static_cast<size_t>(trace_.shape.experts) + static_cast<size_t>(id)] =
          1;
    }
    trace_.all_ids.resize(event.first);
    trace_.events.pop_back();
  }

  void finish_prompt() {
    if (prompt_.empty()) return;
    for (int32_t layer = 0; layer < trace_.shape.layers; ++layer) {
      begin_event(step_, EventKind::prefill, layer);
      for (int32_t id = 0; id < trace_.shape.experts; ++id) {
        if (prompt_[static_cast<size_t>(layer) * static_cast<size_t>(trace_.shape.experts) + static_cast<size_t>(id)]) {
          trace_.all_ids.push_back(id);
        }
      }
      TraceEvent& event = trace_.events.back();
      event.count = static_cast<uint32_t>(trace_.all_ids.size() - event.first);
      if (event.count == 0) trace_.events.pop_back();  // every record of the layer was lost
    }
    prompt_.clear();
    ++step_;
  }

  std::string_view rest_;
  uint64_t line_ = 0;
  int64_t step_ = 0;  // of forms that do not write it
  RoutingTrace trace_;
  std::vector<uint64_t> seen_;  // per expert: the last event that used it
  uint64_t mark_ = 0;
  std::vector<uint8_t> prompt_;  // (layers, experts): used by the prompt that is being read
};

}  // namespace

Result<RoutingTrace> parse_routing_trace(std::string_view text, std::string_view name) {
  return Parser(text, name).parse();
}

Result<RoutingTrace> read_routing_trace(const std::string& path) {
  MOXIE_TRY(const File file, File::open(path));
  std::string text(file.bytes(), '\0');
  MOXIE_TRY_VOID(file.read_at(0, std::as_writable_bytes(std::span(text))));
  return parse_routing_trace(text, path);
}

}  // namespace moxie
