//! One error type: a stable code for programs, a sentence for people.

use std::fmt;

/// What went wrong, as a name that programs may rely on.
///
/// The names reach JavaScript as `error.code` in SCREAMING_SNAKE_CASE and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The system gives no GPU adapter.
    NoGpu,
    /// A GPU allocation failed.
    GpuOutOfMemory,
    /// The GPU device was lost (driver reset, GPU process crash).
    DeviceLost,
    /// The GPU refused what we asked of it: our own mistake.
    GpuValidation,
    /// A file could not be read (removed, changed on disk, network).
    Read,
    /// The file has no bytes.
    EmptyFile,
    /// The file ends before what its header promises.
    Truncated,
    /// A web page was saved under the file's name.
    HtmlPage,
    /// A Git-LFS pointer stands where the file should be.
    LfsPointer,
    /// The content is none of the formats we read.
    UnknownFormat,
    /// A safetensors header breaks the format's rules.
    BadSafetensors,
    /// A zip container is damaged or breaks the rules of torch files.
    BadZip,
    /// A pickle stream is damaged.
    BadPickle,
    /// A pickle names code we do not know; nothing was executed.
    UnsafePickle,
    /// A picture, or what is written into it, is damaged.
    BadPicture,
    /// A size is over the budget for such a file.
    TooLarge,
    /// A model of another family (SD 2, SDXL, LoRA, inpainting, …).
    WrongFamily,
    /// Tensors are missing from a checkpoint.
    MissingTensors,
    /// A tensor has another shape than its place in the network needs.
    WrongShape,
    /// A tensor has an element type we do not read there.
    WrongDtype,
    /// The file holds no Textual Inversion embedding.
    NotAnEmbedding,
    /// A picture or a text carries no recipe.
    NoRecipe,
    /// The embedding's width is not the text width of the model.
    WrongWidth,
    /// Values that are NaN or infinite.
    NotFinite,
    /// An option has an unknown name.
    UnknownOption,
    /// An option has a value that cannot be used.
    BadOption,
    /// The network produced NaN.
    NumericNan,
    /// A call came while another was running.
    Busy,
    /// The object was disposed.
    Disposed,
    /// Our own mistake; please report it.
    Internal,
}

impl Code {
    /// The code's name, as JavaScript and the command line show it.
    pub fn name(self) -> &'static str {
        match self {
            Code::NoGpu => "NO_GPU",
            Code::GpuOutOfMemory => "GPU_OUT_OF_MEMORY",
            Code::DeviceLost => "DEVICE_LOST",
            Code::GpuValidation => "GPU_VALIDATION",
            Code::Read => "READ",
            Code::EmptyFile => "EMPTY_FILE",
            Code::Truncated => "TRUNCATED",
            Code::HtmlPage => "HTML_PAGE",
            Code::LfsPointer => "LFS_POINTER",
            Code::UnknownFormat => "UNKNOWN_FORMAT",
            Code::BadSafetensors => "BAD_SAFETENSORS",
            Code::BadZip => "BAD_ZIP",
            Code::BadPickle => "BAD_PICKLE",
            Code::UnsafePickle => "UNSAFE_PICKLE",
            Code::BadPicture => "BAD_PICTURE",
            Code::TooLarge => "TOO_LARGE",
            Code::WrongFamily => "WRONG_FAMILY",
            Code::MissingTensors => "MISSING_TENSORS",
            Code::WrongShape => "WRONG_SHAPE",
            Code::WrongDtype => "WRONG_DTYPE",
            Code::NotAnEmbedding => "NOT_AN_EMBEDDING",
            Code::NoRecipe => "NO_RECIPE",
            Code::WrongWidth => "WRONG_WIDTH",
            Code::NotFinite => "NOT_FINITE",
            Code::UnknownOption => "UNKNOWN_OPTION",
            Code::BadOption => "BAD_OPTION",
            Code::NumericNan => "NUMERIC_NAN",
            Code::Busy => "BUSY",
            Code::Disposed => "DISPOSED",
            Code::Internal => "INTERNAL",
        }
    }
}

/// An error: its [`Code`] and a sentence that names the thing, what was found and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
}

impl Error {
    /// An error with this code and sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// `Result` with our [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
