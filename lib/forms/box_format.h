// How the four numbers of a box are meant. The values are those of lossd.v1.BoxFormat.
//
// Thread-safety: a plain value. Ownership: none.
#ifndef LOSSD_LIB_FORMS_BOX_FORMAT_H_
#define LOSSD_LIB_FORMS_BOX_FORMAT_H_

namespace lossd {

enum class BoxFormat {
  kXyxy = 1,    // lower corner, upper corner
  kXywh = 2,    // lower corner, width, height
  kCxcywh = 3,  // center, width, height
};

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_BOX_FORMAT_H_
