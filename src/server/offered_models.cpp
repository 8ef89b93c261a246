#include "server/offered_models.h"

#include <algorithm>

#include "core/ascii.h"
#include "core/edit_distance.h"
#include "core/fail.h"
#include "core/printable.h"

namespace moxie::server {
namespace {

// Without the end that tells the kind of file.
std::string_view plain(std::string_view id) {
  for (const std::string_view end : {".gguf", ".safetensors", ".index.json"}) {
    if (id.ends_with(end)) return id.substr(0, id.size() - end.size());
  }
  return id;
}

// Is `name` the whole of `id` from its beginning or from behind a ':' or '/'? Both in lower case.
bool is_end_of(std::string_view name, std::string_view id) {
  if (!id.ends_with(name)) return false;
  const size_t before = id.size() - name.size();
  return before == 0 || id[before - 1] == ':' || id[before - 1] == '/';
}

std::string ids_of(const std::vector<const OfferedModel*>& models) {
  std::string out;
  for (const OfferedModel* model : models) out += fmt::format("{}'{}'", out.empty() ? "" : ", ", model->id);
  return out;
}

bool is_near(std::string_view name, std::string_view other) {
  return !nearest_name(name, std::vector<std::string_view>{other}).empty();
}

// Near the id or an end of it? Both in lower case.
bool resembles(std::string_view name, std::string_view id) {
  std::string_view rest = plain(id);
  if (is_near(name, id) || is_near(name, rest)) return true;
  for (size_t cut = rest.find_first_of(":/"); cut != rest.npos; cut = rest.find_first_of(":/")) {
    rest.remove_prefix(cut + 1);
    if (is_near(name, rest)) return true;
  }
  return false;
}

Error unknown(const std::vector<OfferedModel>& models, std::string_view name) {
  const std::string shown = printable(name.substr(0, 200)), wanted = ascii_lower(name.substr(0, 200));
  size_t loading = 0;
  std::string near;
  for (const OfferedModel& model : models) {
    if (!model.problem.empty()) continue;
    ++loading;
    if (near.empty() && resembles(wanted, ascii_lower(model.id))) near = model.id;
  }
  if (!near.empty()) {
    return fail(ErrorCode::not_found, "'model' is '{}', which is not here; did you mean '{}'?", shown, near);
  }
  return fail(ErrorCode::not_found, "'model' is '{}', which is not here; GET /v1/models lists what is ({})", shown,
              loading);
}

}  // namespace

Result<OfferedModel> find_offered(const std::vector<OfferedModel>& models, std::string_view name) {
  const auto usable = [](const OfferedModel& model) -> Result<OfferedModel> {
    if (model.problem.empty()) return model;
    return fail(ErrorCode::not_found, "'model' is '{}', which will not load: {}", model.id, model.problem);
  };
  for (const OfferedModel& model : models) {
    if (model.id == name) return usable(model);
  }
  const std::string wanted = ascii_lower(name);
  std::vector<const OfferedModel*> found, broken;
  for (const OfferedModel& model : models) {
    const std::string id = ascii_lower(model.id);
    if (wanted.empty() || (!is_end_of(wanted, id) && !is_end_of(wanted, plain(id)))) continue;
    (model.problem.empty() ? found : broken).push_back(&model);
  }
  if (found.size() > 1) {
    return fail(ErrorCode::invalid_argument, "'model' is '{}', which may be any of {}", printable(name.substr(0, 200)),
                ids_of(found));
  }
  if (!found.empty()) return *found.front();
  if (!broken.empty()) return usable(*broken.front());
  return unknown(models, name);
}

}  // namespace moxie::server
