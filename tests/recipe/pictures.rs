//! Recipes in pictures; the files in `golden/recipe` were written by Pillow (see `make_images.py` there).

use wordbrush::recipe::images::{bare_png, embed_in_png, png_chunks};
use wordbrush::recipe::{Recipe, infotext, read};

use crate::{by_the_sea, porsche};

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../golden/recipe/", $name))
    };
}

const PLAIN: &[u8] = golden!("plain.png");

/// A chunk of a PNG.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = (data.len() as u32).to_be_bytes().to_vec();
    bytes.extend(kind);
    bytes.extend(data);
    let sum = crc32fast::hash(&bytes[4..]);
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// The plain picture with chunks before its pixels.
pub fn png_with(chunks: &[Vec<u8>]) -> Vec<u8> {
    let at = PLAIN.windows(4).position(|kind| kind == b"IDAT").expect("pixels") - 4;
    [&PLAIN[..at], &chunks.concat(), &PLAIN[at..]].concat()
}

fn message(bytes: &[u8]) -> String {
    let error = read(bytes).expect_err("no recipe");
    assert_eq!(error.code.name(), "NO_RECIPE", "{error}");
    error.message
}

#[test]
fn a1111s_pictures() {
    let unicode = Recipe { prompt: "a porsche, (red:1.2)\n海のそば, café 🏎".into(), ..by_the_sea() };
    assert_eq!(read(golden!("a1111.png")), Ok(by_the_sea()));
    assert_eq!(read(golden!("a1111_packed.png")), Ok(by_the_sea()));
    assert_eq!(read(golden!("comment.jpg")), Ok(by_the_sea()));
    assert_eq!(read(golden!("a1111_unicode.png")), Ok(unicode.clone()));
    assert_eq!(read(golden!("a1111_unicode_packed.png")), Ok(unicode.clone()));
    assert_eq!(read(golden!("a1111.jpg")), Ok(unicode.clone()));
    assert_eq!(read(golden!("a1111_little.jpg")), Ok(unicode.clone()));
    assert_eq!(read(golden!("a1111.webp")), Ok(unicode.clone()));
    let latin = Recipe { prompt: "a porsche, (red:1.2)\ncafé, naïve".into(), ..by_the_sea() };
    assert_eq!(read(golden!("a1111_latin.png")), Ok(latin));
}

#[test]
fn comfyuis_pictures() {
    for picture in [&golden!("comfy.png")[..], &golden!("comfy.webp")[..]] {
        let recipe = read(picture).expect("a recipe");
        assert_eq!(recipe.prompt, "embedding:porsche911_ti 海");
        assert_eq!(recipe.notes, ["Nodes of the kind \u{201c}PlotOfSomebody\u{201d} are not known and were left out."]);
        assert_eq!(Recipe { prompt: porsche().prompt, notes: Vec::new(), ..recipe }, porsche());
    }
    assert_eq!(read(golden!("comfy_workflow.png")), Ok(porsche()));
}

#[test]
fn pictures_without_a_recipe_say_so() {
    assert!(message(PLAIN).starts_with("This PNG picture carries no recipe."));
    assert!(message(golden!("plain.jpg")).starts_with("This JPEG picture carries no recipe."));
    assert!(message(golden!("plain.webp")).starts_with("This WebP picture carries no recipe."));
    assert!(message(b"GIF89a\xff").contains("no PNG, JPEG or WebP"));
    assert_eq!(read(b"").expect_err("nothing").code.name(), "EMPTY_FILE");
}

#[test]
fn text_files() {
    let text = infotext::write(&by_the_sea());
    assert_eq!(read(text.as_bytes()), Ok(by_the_sea()));
    assert_eq!(read(format!("\u{feff}{text}\r\n").as_bytes()), Ok(by_the_sea()));
    assert_eq!(read(golden!("workflow.json")), Ok(porsche()));
    let tagged = Recipe { prompt: "<lora:x:1> cat".into(), ..by_the_sea() };
    assert_eq!(read(infotext::write(&tagged).as_bytes()), Ok(tagged));
    assert!(message(b"a cat on a roof").contains("no line of parameters"));
}

#[test]
fn our_pictures_carry_three_texts() {
    let keywords = |recipe: &Recipe| png_chunks(recipe).iter().map(|(keyword, _)| *keyword).collect::<Vec<_>>();
    assert_eq!(keywords(&porsche()), ["parameters", "prompt", "workflow"]);
    assert_eq!(keywords(&by_the_sea()), ["parameters"]);
    let chunks = png_chunks(&porsche());
    let picture = embed_in_png(PLAIN, &chunks).expect("a PNG");
    assert_eq!(read(&picture), Ok(porsche()));
    // The png crate sees the texts, in order, and the same pixels.
    let mut reader = png::Decoder::new(std::io::Cursor::new(&picture)).read_info().expect("a PNG");
    let texts = reader.info().uncompressed_latin1_text.clone();
    let seen: Vec<(String, String)> = texts.into_iter().map(|text| (text.keyword, text.text)).collect();
    let software = ("Software".to_string(), "nobody".to_string());
    let expected = chunks.iter().map(|(keyword, text)| (keyword.to_string(), text.clone()));
    assert_eq!(seen, std::iter::once(software).chain(expected).collect::<Vec<_>>());
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    reader.next_frame(&mut pixels).expect("pixels");
    assert_eq!(pixels, [90, 120, 40].repeat(64));
}

#[test]
fn a_second_recipe_replaces_the_first() {
    let first = embed_in_png(PLAIN, &png_chunks(&porsche())).expect("a PNG");
    let text = infotext::write(&by_the_sea());
    let second = embed_in_png(&first, &[("parameters", text)]).expect("a PNG");
    assert_eq!(read(&second), Ok(by_the_sea()));
    assert!(second.windows(6).any(|part| part == b"prompt"), "the others stay");
}

#[test]
fn latin_letters_go_into_text_others_into_itxt() {
    let kinds = |text: &str| {
        let picture = embed_in_png(PLAIN, &[("parameters", text.to_string())]).expect("a PNG");
        [&b"tEXtparameters"[..], b"iTXtparameters"].map(|kind| picture.windows(14).any(|part| part == kind))
    };
    assert_eq!(kinds("café\nx"), [true, false]);
    assert_eq!(kinds("日本"), [false, true]);
    // These could be taken for UTF-8, and this has a zero.
    assert_eq!(kinds("cafÃ©"), [false, true]);
    assert_eq!(kinds("a\0b"), [false, true]);
    for (keyword, code) in [("", "BAD_OPTION"), ("日", "BAD_OPTION")] {
        assert_eq!(embed_in_png(PLAIN, &[(keyword, String::new())]).expect_err("refused").code.name(), code);
    }
    assert_eq!(embed_in_png(b"x", &[]).expect_err("refused").code.name(), "UNKNOWN_FORMAT");
    assert_eq!(embed_in_png(&PLAIN[..40], &[]).expect_err("refused").code.name(), "TRUNCATED");
}

#[test]
fn long_texts_are_left_out() {
    let text = infotext::write(&by_the_sea());
    let long = chunk(b"tEXt", &[b"parameters\0", vec![b'x'; 50 << 20].as_slice()].concat());
    assert!(message(&png_with(std::slice::from_ref(&long))).contains("too long"));
    let workflow = chunk(b"tEXt", &[b"workflow\0", golden!("workflow.json").as_slice()].concat());
    let recipe = read(&png_with(&[long, workflow])).expect("the other text has a recipe");
    assert_eq!(recipe.notes.len(), 1);
    // A small chunk that unpacks to much.
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, &vec![b'x'; 64 << 20]).expect("memory");
    let packed = packed.finish().expect("memory");
    let bomb = chunk(b"zTXt", &[b"parameters\0\0", packed.as_slice()].concat());
    assert!(message(&png_with(&[bomb])).contains("too long"));
    let bomb = chunk(b"iTXt", &[b"parameters\0\x01\0\0\0", packed.as_slice()].concat());
    assert!(message(&png_with(&[bomb])).contains("too long"));
    let prompt = format!("a\nNegative prompt: b\n{}", "é".repeat(100));
    let itxt = chunk(b"iTXt", &[b"parameters\0\0\0\0\0", prompt.as_bytes()].concat());
    let other = chunk(b"tEXt", &[b"parameters\0", text.as_bytes()].concat());
    assert_eq!(read(&png_with(&[itxt, other])).expect("the first").prompt, "a");
}

#[test]
fn damage_is_noted() {
    let text = infotext::write(&by_the_sea());
    let mut bad = chunk(b"tEXt", &[b"parameters\0", text.as_bytes()].concat());
    *bad.last_mut().expect("a checksum") ^= 1;
    let recipe = read(&png_with(&[bad])).expect("a recipe");
    assert!(recipe.notes[0].contains("checksum"));
    assert!(message(&png_with(&[chunk(b"iTXt", b"parameters\0\0")])).contains("damaged"));
    assert!(message(&png_with(&[chunk(b"tEXt", b"workflow\0{\"nodes\":")])).contains("damaged"));
}

#[test]
fn a_prompt_alone() {
    let only = chunk(b"tEXt", b"parameters\0a cat");
    assert_eq!(read(&png_with(&[only])), Ok(Recipe { prompt: "a cat".into(), ..Recipe::default() }));
}

/// A JPEG's segment.
fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() + 2) as u16;
    [&[0xff, marker][..], &length.to_be_bytes(), content].concat()
}

/// A TIFF block with a user comment; big-endian, so that its order and the text's may differ.
fn exif(comment: &[u8]) -> Vec<u8> {
    let mut block = b"MM\0\x2a\0\0\0\x08".to_vec();
    block.extend(b"\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0");
    block.extend(b"\0\x01\x92\x86\0\x07");
    block.extend((comment.len() as u32).to_be_bytes());
    block.extend(b"\0\0\0\x2c\0\0\0\0");
    block.extend(comment);
    block
}

#[test]
fn user_comments_in_every_encoding() {
    let text = infotext::write(&by_the_sea());
    let units = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let comments: [Vec<u8>; 6] = [
        [b"UNICODE\0", units(u16::to_be_bytes).as_slice()].concat(),
        [b"UNICODE\0", units(u16::to_le_bytes).as_slice()].concat(),
        [b"UNICODE\0\xff\xfe", units(u16::to_le_bytes).as_slice()].concat(),
        [b"ASCII\0\0\0", text.as_bytes(), b"\0"].concat(),
        [b"\0\0\0\0\0\0\0\0", text.as_bytes()].concat(),
        text.clone().into_bytes(),
    ];
    for comment in comments {
        let block = exif(&comment);
        let jpeg = [&b"\xff\xd8\xff\xff"[..], &segment(0xe1, &[b"Exif\0\0", block.as_slice()].concat())[1..]].concat();
        assert_eq!(read(&jpeg), Ok(by_the_sea()), "JPEG with fill bytes");
        let mut webp = b"RIFF\0\0\0\0WEBPodd \x03\0\0\0abc\0EXIF".to_vec();
        webp.extend((block.len() as u32 + 6).to_le_bytes());
        webp.extend(b"Exif\0\0");
        webp.extend(&block);
        assert_eq!(read(&webp), Ok(by_the_sea()), "WebP with JPEG's prefix");
        assert_eq!(read(&png_with(&[chunk(b"eXIf", &block)])), Ok(by_the_sea()), "PNG");
    }
}

#[test]
fn a_bare_picture_says_nothing_and_shows_the_same() {
    let bare = bare_png(PLAIN).expect("a PNG");
    let pixels = PLAIN.windows(4).position(|kind| kind == b"IDAT").expect("pixels") - 4;
    assert!(bare.ends_with(&PLAIN[pixels..]) && !bare.windows(4).any(|kind| kind == b"tEXt"));
    let told = embed_in_png(PLAIN, &png_chunks(&porsche())).expect("a PNG");
    assert_eq!(bare_png(&told).expect("a PNG"), bare);
    let with_exif = png_with(&[chunk(b"eXIf", b"II*\0"), chunk(b"zTXt", b"Comment\0\0x")]);
    assert_eq!(bare_png(&with_exif).expect("a PNG"), bare);
    assert!(bare_png(b"GIF89a").is_err());
}

#[test]
fn a_grid_is_read_as_its_first_picture() {
    let grid = [("Script", "X/Y/Z plot"), ("X Type", "Prompt S/R"), ("X Values", "(embedding:a:0.5), (embedding:a:1)")];
    let mut recipe = porsche();
    recipe.extra.extend(grid.map(|(key, value)| (key.to_string(), value.to_string())));
    let read = infotext::parse(&infotext::write(&recipe));
    assert_eq!(read.extra, recipe.extra);
    assert!(read.notes.is_empty(), "{:?}", read.notes);
}

/// Earlier texts that are read as the new one go, however they are spelt and wherever they stand.
#[test]
fn what_is_written_is_what_is_read() {
    let infotext = |seed: u32| format!("a cat\nSteps: 3, Sampler: Euler, CFG scale: 7, Seed: {seed}");
    let spelt = embed_in_png(PLAIN, &[("PARAMETERS", infotext(1))]).expect("a PNG");
    // The EXIF block of a WebP of A1111's.
    let webp: &[u8] = golden!("a1111.webp");
    let at = webp.windows(4).position(|kind| kind == b"EXIF").expect("a block") + 8;
    let in_exif = png_with(&[chunk(b"eXIf", &webp[at..])]);
    for picture in [spelt, in_exif] {
        assert!(read(&picture).is_ok_and(|recipe| recipe.seed.is_some() && recipe.seed != Some(2)));
        let written = embed_in_png(&picture, &[("parameters", infotext(2))]).expect("a PNG");
        assert_eq!(read(&written).map(|recipe| recipe.seed), Ok(Some(2)));
    }
}
