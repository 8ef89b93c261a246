// Contexts of slots to files and back.
#include <algorithm>

#include "core/fail.h"
#include "server/endpoint.h"
#include "server/fields.h"
#include "server/json_build.h"
#include "server/model_host.h"

namespace moxie::server::endpoints {
namespace {

// A name for a file in the folder for slots, which leads nowhere else.
Result<std::string> file_path(const Service& service, const HttpRequest& request) {
  MOXIE_TRY(const Json body, body_json(request));
  Fields fields(body);
  std::string name;
  fields.text("filename", name);
  MOXIE_TRY_VOID(fields.done());
  const bool plain =
      !name.empty() && name.size() <= 200 && name.front() != '.' && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
               c == '-';
      });
  if (!plain) {
    return fail(
        ErrorCode::invalid_argument,
        "'filename' is {}; it must be a plain name of letters, digits, '.', '_' and '-' that does not begin with a "
        "dot",
        shown(Json{name}));
  }
  return service.options.slot_save_path + "/" + name;
}

Result<HttpResponse> save(const Service& service, int slot, const HttpRequest& request, const std::string& path) {
  MOXIE_TRY(const SlotFileResult saved, service.scheduler->save_slot(slot, path));
  return json_response(object({{"id_slot", slot},
                               {"filename", path.substr(service.options.slot_save_path.size() + 1)},
                               {"n_saved", saved.tokens},
                               {"n_written", saved.bytes},
                               {"request", request.id},
                               {"timings", object({{"save_ms", saved.seconds * 1000}})}}));
}

Result<HttpResponse> restore(const Service& service, int slot, const HttpRequest& request, const std::string& path) {
  MOXIE_TRY(const SlotFileResult restored, service.scheduler->restore_slot(slot, path));
  return json_response(object({{"id_slot", slot},
                               {"filename", path.substr(service.options.slot_save_path.size() + 1)},
                               {"n_restored", restored.tokens},
                               {"n_read", restored.bytes},
                               {"request", request.id},
                               {"timings", object({{"restore_ms", restored.seconds * 1000}})}}));
}

constexpr std::string_view kPath = "/slots/{id}";

Result<HttpResponse> act(ServerState& server, const HttpRequest& request) {
  if (!server.options.slots)
    return error_response(501, "slots are not shown by this server; it was started with --no-slots");
  const ServiceLease held = server.models->current();
  if (held == nullptr && server.models->is_fixed()) return loading_response(request);
  if (held == nullptr) return fail(ErrorCode::invalid_argument, "no model is open, so there are no slots");
  const Service& service = *held;
  const Json id{std::string(last_part(kPath, request.path))};
  int slot = -1;
  for (const SlotInfo& each : service.scheduler->slots()) {
    if (std::to_string(each.id) == *id.text()) slot = each.id;
  }
  if (slot < 0) {
    return fail(ErrorCode::invalid_argument, "there is no slot {}; there are 0 to {}", shown(id),
                service.options.scheduler.parallel - 1);
  }
  const std::string_view action = request.argument("action");
  if (action == "erase") {
    MOXIE_TRY(const int64_t erased, service.scheduler->erase_slot(slot));
    return json_response(object({{"id_slot", slot}, {"n_erased", erased}}));
  }
  if (action != "save" && action != "restore") {
    return fail(ErrorCode::invalid_argument, "'action' is {}; it must be save, restore or erase",
                shown(Json{std::string(action)}));
  }
  if (service.options.slot_save_path.empty()) {
    return error_response(501, "this server saves no slots; start it with --slot-save-path FOLDER");
  }
  MOXIE_TRY(const std::string path, file_path(service, request));
  return action == "save" ? save(service, slot, request, path) : restore(service, slot, request, path);
}

}  // namespace

extern const EndpointEntry slot_action = {
    .name = "slot_action",
    .summary = "a context to a file (?action=save), back (restore), or away (erase)",
    .method = "POST",
    .paths = kPath,
    .look = act};

}  // namespace moxie::server::endpoints
