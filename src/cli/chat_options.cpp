#include "cli/chat_options.h"

#include "cli/console.h"
#include "core/fail.h"
#include "core/json.h"

namespace moxie::cli {

void ChatFlags::add_flags(FlagSet& flags) {
  flags.add("system-prompt", system);
  flags.add("chat-template", chat_template);
  flags.add("chat-template-file", template_file);
  flags.add("chat-template-kwargs", variables);
}

Result<void> ChatFlags::settle() {
  ConversationOptions& conversation = options.conversation;
  conversation.system = resolve_escapes(system);
  conversation.choice.given = chat_template;
  if (!template_file.empty()) {
    if (!chat_template.empty()) {
      return fail(ErrorCode::invalid_argument, "--chat-template and --chat-template-file name two templates; give one");
    }
    MOXIE_TRY(conversation.choice.file_text, read_text(template_file));
    conversation.choice.file = template_file;
  }
  if (!variables.empty()) {
    MOXIE_TRY(conversation.extra, parse_json(variables, "--chat-template-kwargs"));
    if (!conversation.extra.object()) {
      return fail(ErrorCode::invalid_argument,
                  "--chat-template-kwargs wants a JSON object, such as {{\"thinking\": false}}");
    }
  }
  return {};
}

}  // namespace moxie::cli
