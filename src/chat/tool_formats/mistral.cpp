// Mistral's two forms. Up to v7: [TOOL_CALLS] and a JSON list of {"name", "arguments", "id"}. From v11 on each call is
// [TOOL_CALLS]name[ARGS]{...}, with [CALL_ID]id between in some. Models mix them up, so both readers take both.
#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

constexpr std::string_view kMark = "[TOOL_CALLS]", kArguments = "[ARGS]", kId = "[CALL_ID]";
constexpr size_t kNameMax = 256;

class Reader final : public BlockReader {
 public:
  BlockScan scan(std::string_view block, End end) override {
    if (begin_ == 0) {
      const size_t first = skip_blanks(block, kMark.size());
      if (first == block.size()) return end.ended ? is_text() : more();
      is_list_ = block[first] == '[' || block[first] == '{';
      begin_ = first;
      if (is_list_) span_.emplace(begin_);
    }
    return is_list_ ? list(block, end) : named(block, end);
  }

 private:
  BlockScan list(std::string_view block, End end) {
    const ReadJson read = read_json(*span_, block, begin_, end);
    if (read.state == JsonSpan::State::more) return more();
    if (read.state == JsonSpan::State::broken) return is_text();
    BlockScan scan{.verdict = BlockScan::Verdict::calls, .used = read.end};
    const auto add = [&](const Json& one) {
      auto call = call_of_json(one);
      if (call) scan.calls.push_back(*std::move(call));
      return call.has_value();
    };
    if (!read.json.array()) return add(read.json) ? scan : is_text();
    for (const Json& one : *read.json.array()) {
      if (!add(one)) return is_text();
    }
    return scan.calls.empty() ? is_text() : scan;
  }

  BlockScan named(std::string_view block, End end) {
    if (!span_) {
      const size_t brace = block.find('{', begin_);
      if (brace == std::string_view::npos) {
        const bool hopeless = end.ended || block.size() - begin_ > kNameMax;
        return hopeless ? is_text() : more();
      }
      std::string_view head = without_blanks(block.substr(begin_, brace - begin_));
      if (head.ends_with(kArguments)) head.remove_suffix(kArguments.size());
      if (const size_t id = head.find(kId); id != std::string_view::npos) {
        call_.id = without_blanks(head.substr(id + kId.size()));
        head = head.substr(0, id);
      }
      call_.name = without_blanks(head);
      if (call_.name.empty() || call_.name.find_first_of(" \n[]\"") != std::string::npos) return is_text();
      begin_ = brace;
      span_.emplace(brace);
    }
    const ReadJson read = read_json(*span_, block, begin_, end);
    if (read.state == JsonSpan::State::more) return more();
    if (read.state == JsonSpan::State::broken || !read.json.object()) return is_text();
    call_.arguments = to_text(read.json);
    return is_call(read.end, call_);
  }

  size_t begin_ = 0;
  bool is_list_ = false;
  std::optional<JsonSpan> span_;
  CalledTool call_;
};

constexpr ToolMark kMarks[] = {{.text = kMark, .control = true}};

std::unique_ptr<BlockReader> read(const ToolSet&, size_t) {
  return std::make_unique<Reader>();
}

Json list_frame(const ToolSet& tools, bool many, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) { return frame::json_call(tool, "arguments"); });
  Json calls = frame::in_a_row(frame::rule("call"), frame::text(", "), many);
  return frame::with_call(std::move(call),
                          frame::sequence({frame::token(kMark), frame::text("["), std::move(calls), frame::text("]")}));
}

Json named_frame(const ToolSet& tools, bool many, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) {
    return frame::sequence(
        {frame::token(kMark), frame::text(tool.name), frame::token(kArguments), frame::schema(tool.parameters)});
  });
  return frame::with_call(std::move(call), frame::in_a_row(frame::rule("call"), frame::text(""), many));
}

}  // namespace

extern constinit const ToolFormat mistral_list = {
    .name = "mistral",
    .summary = "[TOOL_CALLS] and a JSON list (Mistral 7B v0.3, Nemo, Mixtral 8x22B)",
    .matches = [](std::string_view text) { return contains(text, kMark); },
    .marks = kMarks,
    .read = read,
    .frame = list_frame,
    .ids = CallIds::mistral,
};

extern constinit const ToolFormat mistral_named = {
    .name = "mistral-args",
    .summary = "[TOOL_CALLS]name[ARGS]{...} (Mistral Small 3, Magistral, Devstral, Ministral)",
    .matches = [](std::string_view text) { return contains(text, kMark) && contains(text, kArguments); },
    .marks = kMarks,
    .read = read,
    .frame = named_frame,
    .ids = CallIds::mistral,
};

}  // namespace moxie::call_formats
