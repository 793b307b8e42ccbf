// Everything of stpl_rt.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/error.h>
#include <stpl_rt/flow.h>
#include <stpl_rt/frame.h>
#include <stpl_rt/options.h>
#include <stpl_rt/result.h>
#include <stpl_rt/segmenter.h>
