// Text from elsewhere, fit for a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace stpl_rt {

// Printable ASCII stays, line ends become spaces, all other bytes \xNN; what is longer than `most` bytes ends
// in "...". What a file says can so neither garble a message nor a terminal.
std::string printable(std::string_view text, std::size_t most);

}  // namespace stpl_rt
