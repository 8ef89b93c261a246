// Token ids to rows of the residual stream, and the norms along it.
#include "model/forward.h"
#include "model/model.h"

namespace moxie {

void embed(ForwardPass& pass) {
  float* out = pass.ws.x;
  for (const BatchSegment& segment : pass.segments) {
    pass.backend.embed(pass.model.matrix(Role::token_embd), segment.ids, out);
    out += static_cast<int64_t>(segment.ids.size()) * pass.hp.hidden;
  }
}

void norm(ForwardPass& pass, Role role, int64_t layer) {
  if (pass.tokens == 0) return;
  pass.backend.rms_norm(pass.ws.x, pass.model.vector(role, layer), pass.hp.norm_eps, pass.tokens, pass.hp.hidden,
                        pass.ws.normed);
  pass.ws.normed_acts.set(pass.ws.normed, pass.tokens, pass.hp.hidden);
}

void final_norm(ForwardPass& pass) {
  norm(pass, Role::output_norm, 0);
}

}  // namespace moxie
