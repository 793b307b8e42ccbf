// stpl_rt.Error: RuntimeError with the attribute `code`.
#include <stpl_rt/error.h>

#include <exception>
#include <string_view>

#include "module.h"

namespace stpl_rt::bindings {

namespace nb = nanobind;

namespace {

// Lives as long as the interpreter, like the module's own types.
PyObject* error_type = nullptr;

// Messages quote paths, whose bytes need not be UTF-8.
nb::object to_text(std::string_view message) {
  PyObject* const text =
      PyUnicode_DecodeUTF8(message.data(), static_cast<Py_ssize_t>(message.size()), "backslashreplace");
  if (text == nullptr) nb::raise_python_error();
  return nb::steal(text);
}

void set_python_error(const Error& error) {
  nb::object value = nb::borrow(error_type)(to_text(error.what()));
  value.attr("code") = to_string(error.code());
  PyErr_SetObject(error_type, value.ptr());
}

}  // namespace

void register_errors(nb::module_& m) {
  error_type = PyErr_NewExceptionWithDoc(
      "stpl_rt.Error",
      "An error of the runtime. `code` is one of \"invalid_argument\", \"invalid_bundle\", \"io\",\n"
      "\"unsupported\", \"in_use\", \"engine\", \"internal\".",
      PyExc_RuntimeError, nullptr);
  if (error_type == nullptr) nb::raise_python_error();
  nb::borrow(error_type).attr("code") = to_string(ErrorCode::internal);
  m.attr("Error") = nb::borrow(error_type);
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      set_python_error(error);
    }
  });
}

}  // namespace stpl_rt::bindings
