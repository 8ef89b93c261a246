// Hermes and Qwen: <tool_call>{"name": ..., "arguments": {...}}</tool_call>, once per call. Apriel: <tool_calls> and a
// list of them.
#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

struct Tags {
  std::string_view open, close;
};
constexpr Tags kTags[] = {{"<tool_call>", "</tool_call>"}, {"<tool_calls>", "</tool_calls>"}};

class Reader final : public BlockReader {
 public:
  explicit Reader(const Tags& tags) : tags_(tags) {}

  BlockScan scan(std::string_view block, End end) override {
    if (!span_) {
      begin_ = skip_blanks(block, tags_.open.size());
      if (begin_ == block.size()) return end.ended ? is_text() : more();
      span_.emplace(begin_);
    }
    if (scan_.calls.empty()) {
      const ReadJson read = read_json(*span_, block, begin_, end);
      if (read.state == JsonSpan::State::more) return more();
      if (read.state == JsonSpan::State::broken || !take(read.json)) return is_text();
      scan_.used = read.end;
    }
    // The closing mark belongs to it; a model that ends without one has called nevertheless.
    const size_t close = skip_blanks(block, scan_.used);
    const Stands stands = stands_at(block, close, tags_.close);
    if (stands == Stands::partly && !end.ended) return more();
    if (stands == Stands::yes) scan_.used = close + tags_.close.size();
    return scan_;
  }

 private:
  bool take(const Json& json) {
    scan_.verdict = BlockScan::Verdict::calls;
    const auto add = [&](const Json& one) {
      auto call = call_of_json(one);
      if (call) scan_.calls.push_back(*std::move(call));
      return call.has_value();
    };
    if (!json.array()) return add(json);
    for (const Json& one : *json.array()) {
      if (!add(one)) return false;
    }
    return !scan_.calls.empty();
  }

  const Tags& tags_;
  size_t begin_ = 0;
  std::optional<JsonSpan> span_;
  BlockScan scan_;
};

constexpr ToolMark kMarks[] = {{.text = kTags[0].open}, {.text = kTags[1].open}};

Json hermes_frame(const ToolSet& tools, bool many, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) { return frame::json_call(tool, "arguments"); });
  Json whole = frame::sequence({frame::token(kTags[0].open), frame::text("\n"), std::move(call), frame::text("\n"),
                                frame::token(kTags[0].close)});
  return frame::with_call(std::move(whole), frame::in_a_row(frame::rule("call"), frame::text("\n"), many));
}

}  // namespace

extern constinit const ToolFormat hermes = {
    .name = "hermes",
    .summary = "<tool_call>{\"name\", \"arguments\"}</tool_call> (Hermes, Qwen 2.5 and 3)",
    .matches = [](std::string_view text) { return contains(text, kTags[0].open); },
    .marks = kMarks,
    .read = [](const ToolSet&, size_t mark) -> std::unique_ptr<BlockReader> {
      return std::make_unique<Reader>(kTags[mark]);
    },
    .frame = hermes_frame,
};

}  // namespace moxie::call_formats
