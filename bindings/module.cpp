#include "module.h"

#include "gil.h"

namespace {

// An engine's library takes apart what it keeps for the process while threads that nobody waited for, or a
// Segmenter's own, may still be in it.
void wait_at_exit() {
  const auto wait = [] {
    stpl_rt::bindings::end_released_work();
    stpl_rt::bindings::wait_for_segmenters();
  };
  nanobind::module_::import_("atexit").attr("register")(nanobind::cpp_function(wait));
}

}  // namespace

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
  forget_released_work_in_children();
  wait_at_exit();
}
