#include "cli/line_reader.h"

#include <clocale>
#include <cstdio>
#include <iostream>

#ifdef MOXIE_LIBEDIT
#include <histedit.h>
#endif

namespace moxie::cli {

#ifdef MOXIE_LIBEDIT

namespace {
constexpr int kHistoryLines = 1000;
}

struct LineReader::Impl {
  EditLine* edit = nullptr;
  History* history = nullptr;
  std::string prompt, file;

  static char* show_prompt(EditLine* edit) {
    Impl* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }
};

LineReader::LineReader(bool edit, std::string history_file) {
  if (!edit) return;
  std::setlocale(LC_CTYPE, "");
  EditLine* const editor = el_init("moxie", stdin, stdout, stderr);
  if (!editor) return;
  impl_ = std::make_unique<Impl>();
  impl_->edit = editor;
  impl_->history = history_init();
  impl_->file = std::move(history_file);
  el_set(editor, EL_CLIENTDATA, impl_.get());
  el_set(editor, EL_PROMPT, &Impl::show_prompt);
  el_set(editor, EL_EDITOR, "emacs");
  el_set(editor, EL_TERMINAL, nullptr);
  // While a line is edited Ctrl-C is a key like any other: it empties the line.
  el_set(editor, EL_SETTY, "-d", "-isig", nullptr);
  el_set(editor, EL_BIND, "^C", "em-kill-line", nullptr);
  HistEvent event;
  history(impl_->history, &event, H_SETSIZE, kHistoryLines);
  history(impl_->history, &event, H_SETUNIQUE, 1);
  if (!impl_->file.empty()) history(impl_->history, &event, H_LOAD, impl_->file.c_str());
  el_set(editor, EL_HIST, history, impl_->history);
}

LineReader::~LineReader() {
  if (!impl_) return;
  HistEvent event;
  if (!impl_->file.empty()) history(impl_->history, &event, H_SAVE, impl_->file.c_str());
  history_end(impl_->history);
  el_end(impl_->edit);
}

std::optional<std::string> LineReader::read(const std::string& prompt) {
  std::string line;
  if (!impl_) {
    if (!std::getline(std::cin, line)) return std::nullopt;
  } else {
    impl_->prompt = prompt;
    int count = 0;
    // el_gets shows the prompt first and only then takes the terminal: keys typed in between would be the terminal's.
    el_set(impl_->edit, EL_PREP_TERM, 1);
    const char* text = el_gets(impl_->edit, &count);
    if (!text || count <= 0) return std::nullopt;
    line.assign(text, static_cast<size_t>(count));
    if (line.find_first_not_of(" \t\r\n") != std::string::npos) {
      HistEvent event;
      history(impl_->history, &event, H_ENTER, line.c_str());
    }
    if (line.ends_with('\n')) line.pop_back();
  }
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

#else

struct LineReader::Impl {};

LineReader::LineReader(bool, std::string) {}
LineReader::~LineReader() = default;

std::optional<std::string> LineReader::read(const std::string& prompt) {
  std::string line;
  if (!prompt.empty()) {
    std::fputs(prompt.c_str(), stdout);
    std::fflush(stdout);
  }
  if (!std::getline(std::cin, line)) return std::nullopt;
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

#endif

}  // namespace moxie::cli
