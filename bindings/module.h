// The subjects of the extension module, one file each.
#pragma once

#include <nanobind/nanobind.h>

namespace stpl_rt::bindings {

void register_errors(nanobind::module_& m);
void register_options(nanobind::module_& m);
void register_bundle(nanobind::module_& m);
void register_ops(nanobind::module_& m);
void register_flow(nanobind::module_& m);
void register_network(nanobind::module_& m);
void register_device_arrays(nanobind::module_& m);
void register_segmenter(nanobind::module_& m);

// Until none of them is at work in the background.
void wait_for_segmenters();

}  // namespace stpl_rt::bindings
