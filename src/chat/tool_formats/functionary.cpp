// Functionary v3.1, and Llama 3.1 when told so: <function=NAME>{"key": "value"}</function>, once per call.
#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

constexpr std::string_view kOpen = "<function=", kClose = "</function>";

class Reader final : public HeadedCallReader {
 public:
  Reader() { closing_ = {kClose}; }

 private:
  Head head(std::string_view block, CalledTool& call, size_t& arguments) override {
    const size_t name_end = block.find('>', kOpen.size());
    if (name_end == std::string_view::npos) return Head::more;
    call.name = without_blanks(block.substr(kOpen.size(), name_end - kOpen.size()));
    arguments = name_end + 1;
    return call.name.empty() ? Head::text : Head::read;
  }
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
