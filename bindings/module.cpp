#include "module.h"

NB_MODULE(_core, m) {
  using namespace stpl_rt::bindings;
#ifdef NDEBUG
  // What threads still hold when the interpreter ends is no leak, and nothing that a user could mend.
  nanobind::set_leak_warnings(false);
#endif
  m.doc() = "The C++ side of stpl_rt; import stpl_rt instead.";
  m.attr("__version__") = STPL_RT_VERSION;
  register_errors(m);
  register_options(m);
  register_bundle(m);
  register_ops(m);
  register_flow(m);
  register_network(m);
  register_device_arrays(m);
  register_segmenter(m);
}
