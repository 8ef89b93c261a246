// datetime.strftime() for a time without a zone.
#include "chat/jinja/interpreter.h"

namespace moxie::jinja {

std::string time_text(const std::string& format, const std::tm& time) {
  std::string text;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      text += format[i];
      continue;
    }
    // One directive: a flag or two and a letter.
    size_t end = i + 1;
    while (end + 1 < format.size() && std::string_view("-_0^#:EO").find(format[end]) != std::string_view::npos) ++end;
    const char letter = format[end];
    if (letter == 'f') {
      text += "000000";  // of the second; the clock given has none
    } else if (letter != 'z' && letter != 'Z') {
      char piece[128];
      const std::string directive = format.substr(i, end - i + 1);
      text.append(piece, std::strftime(piece, sizeof piece, directive.c_str(), &time));
    }
    i = end;
  }
  return text;
}

}  // namespace moxie::jinja
