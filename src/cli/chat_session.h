// A conversation on a terminal or through a pipe: messages in, answers out, commands that begin with "/". Not
// thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/flag_set.h"
#include "cli/line_reader.h"
#include "cli/session.h"
#include "engine/conversation.h"

namespace moxie::cli {

struct ChatOptions {
  ConversationOptions conversation;
  std::optional<std::string> first;  // the first message
  std::string load, save;            // files of conversations
  bool multiline = false;
  bool single_turn = false;
  bool commands = true;  // a line that begins with "/" is one
  std::string history_file;
};

// The system text and all messages as JSON, and back. Errors: corrupt, no such file's text.
std::string conversation_json(const Conversation& conversation);
Result<void> read_conversation(std::string_view json, const std::string& file, Conversation& to);

class ChatSession {
 public:
  // `generate` is the session's own, since /set changes it. All must outlive the ChatSession.
  ChatSession(Session& session, GenerateOptions& generate, FlagSet& settable, ChatOptions options);

  // Until the end of input. Returns the exit status.
  Result<int> run();

 private:
  enum class Next { go_on, leave };

  Result<void> open();
  std::optional<std::string> read_message();
  std::optional<std::string> read_line(bool continued);
  Result<Next> take(const std::string& text);
  Result<Next> answer(const std::string& text);
  Result<bool> make_room(std::vector<int32_t>& next);
  Result<void> forget_stop_text(const GenerateResult& result, size_t before);
  Result<Next> command(const std::string& line);

  Result<void> reset(const std::string& argument);
  Result<void> save(const std::string& argument);
  Result<void> load(const std::string& argument);
  Result<void> system(const std::string& argument);
  Result<void> set(const std::string& argument);
  Result<void> stats(const std::string& argument);
  Result<void> experts(const std::string& argument);
  Result<void> help(const std::string& argument);

  Session& session_;
  GenerateOptions& generate_;
  FlagSet& settable_;
  ChatOptions options_;
  LineReader reader_;
  std::optional<Conversation> conversation_;
  bool terminal_;
};

}  // namespace moxie::cli
