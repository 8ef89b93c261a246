// Functionary v3.1, and Llama 3.1 when told so: <function=NAME>{"key": "value"}</function>, once per call.
#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

constexpr std::string_view kOpen = "<function=", kClose = "</function>";
constexpr size_t kNameMax = 256;

class Reader final : public BlockReader {
 public:
  BlockScan scan(std::string_view block, End end) override {
    if (!span_) {
      const size_t name_end = block.find('>', kOpen.size());
      if (name_end == std::string_view::npos) {
        return end.ended || block.size() > kOpen.size() + kNameMax ? is_text() : more();
      }
      call_.name = without_blanks(block.substr(kOpen.size(), name_end - kOpen.size()));
      if (call_.name.empty()) return is_text();
      begin_ = skip_blanks(block, name_end + 1);
      if (begin_ == block.size()) return end.ended ? is_text() : more();
      span_.emplace(begin_);
    }
    if (call_.arguments.empty()) {
      const ReadJson read = read_json(*span_, block, begin_, end);
      if (read.state == JsonSpan::State::more) return more();
      if (read.state == JsonSpan::State::broken || !read.json.object()) return is_text();
      call_.arguments = to_text(read.json);
      used_ = read.end;
    }
    const size_t at = skip_blanks(block, used_);
    const Stands close = stands_at(block, at, kClose);
    if (close == Stands::partly && !end.ended) return more();
    return is_call(close == Stands::yes ? at + kClose.size() : used_, call_);
  }

 private:
  size_t begin_ = 0, used_ = 0;
  std::optional<JsonSpan> span_;
  CalledTool call_;
};

constexpr ToolMark kMarks[] = {{.text = kOpen}};

Json functionary_frame(const ToolSet& tools, bool many, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) {
    return frame::sequence(
        {frame::text("<function=" + tool.name + ">"), frame::schema(tool.parameters), frame::text(kClose)});
  });
  return frame::with_call(std::move(call), frame::in_a_row(frame::rule("call"), frame::text(""), many));
}

}  // namespace

extern constinit const ToolFormat functionary = {
    .name = "functionary",
    .summary = "<function=NAME>{...}</function> (Functionary v3.1)",
    .matches = [](std::string_view text) { return contains(text, kOpen); },
    .marks = kMarks,
    .read = [](const ToolSet&, size_t) -> std::unique_ptr<BlockReader> { return std::make_unique<Reader>(); },
    .frame = functionary_frame,
};

}  // namespace moxie::call_formats
