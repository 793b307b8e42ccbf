// Flow between Python's interleaved (h, w, 2) and the kernels' two planes.
#pragma once

#include "arrays.h"
#include "ops/compose.h"

namespace stpl_rt::bindings {

// Throws unless `array` is (height, width, 2) float32; a negative size takes any.
PackedArray<float> flow_array(const AnyArray& array, const char* name, int height = -1, int width = -1);

// Both without the GIL.
void to_planes(const PackedArray<float>& array, FlowField& field);
NewArray<float> to_interleaved(const FlowField& field);

}  // namespace stpl_rt::bindings
