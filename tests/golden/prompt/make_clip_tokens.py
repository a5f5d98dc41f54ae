"""Writes clip_tokens.jsonl: texts, plain and odd, and the ids Hugging Face's CLIPTokenizer (transformers >= 5) gives them.

    pip install transformers open_clip_torch
    python make_clip_tokens.py

The vocabulary is rebuilt from open_clip's merges (MIT), the special tokens are declared as in SD 1.5's tokenizer folder.
"""
import gzip, json, os, random, sys, tempfile
import open_clip
from transformers import CLIPTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))


def tokenizer():
    path = os.path.join(os.path.dirname(open_clip.__file__), "bpe_simple_vocab_16e6.txt.gz")
    merges = gzip.open(path).read().decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    chars = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
    vocab = chars + [c + "</w>" for c in chars] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    assert len(set(vocab)) == 49408
    with tempfile.TemporaryDirectory() as folder:
        write = lambda name, text: open(os.path.join(folder, name), "w", encoding="utf-8").write(text)
        write("vocab.json", json.dumps({token: i for i, token in enumerate(vocab)}))
        write("merges.txt", "#version: 0.2\n" + "\n".join(merges) + "\n")
        special = lambda text: {"__type": "AddedToken", "content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        write("tokenizer_config.json", json.dumps({
            "add_prefix_space": False, "bos_token": special("<|startoftext|>"), "eos_token": special("<|endoftext|>"),
            "unk_token": special("<|endoftext|>"), "pad_token": "<|endoftext|>", "do_lower_case": True, "errors": "replace",
            "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}))
        return CLIPTokenizer.from_pretrained(folder)


ODD = r"""
a photo of a cat
A  Photo of	a CAT
masterpiece, best quality, (ultra-detailed:1.3), 8k uhd, dslr, f/1.8
portrait of a woman, intricate, elegant, highly detailed, digital painting, artstation, concept art, smooth, sharp focus, art by artgerm and greg rutkowski and alphonse mucha
porsche911_ti
EasyNegative
bad-hands-5
<cat-toy>
embedding:foo
it's I'M we'll DON'T they've you're he'd
IT'S 'S's'T 'tis rock'n'roll
''s ''' 'll'd
123 45 6.7 1,000 1_000 2024-01-01
½ ² ³ Ⅷ ⑦ ٣ １２３
!!!! ?!?! ... … -- — – ~~ ^^ && || ## @@ %% ** ++ == // \\
a.b,c;d:e!f?g(h)i[j]k{l}m<n>o|p/q\r"s't`u~v@w#x$y%z^&*_+=-
</w> a</w>b w> <w <|
<|endoftext|>
<|startoftext|>
a<|endoftext|>b
a <|endoftext|> b <|startoftext|> c
<|STARTOFTEXT|> x <|ENDOFTEXT|>
<|endoftext|
<| endoftext |>
日本語
a日本b 語c
東京タワーの夜景、綺麗な空
一个女孩，站在花园里，阳光
한국어 사과 먹다
ไทย ภาษา
हिन्दी में लिखा
العربية نص
עברית טקסט
Русский ТЕКСТ Ёлка
Ελληνικά ΑΣ ΣΊΣΥΦΟΣ
İstanbul ısı IĞDIR
ß ẞ ſ K Å
ﬁ ﬂ ﬀ
café CAFÉ naïve Ångström Straße ÆØÅ
Việt Nam tiếng Việt
l'été d'Artagnan'S
😀 😃😄 👍🏽 ❤️ ❤
👨‍👩‍👧 🏳️‍🌈 🇩🇪 1️⃣
☃★☆♥♪♫→←⇒∞≠≤√∑∫
“quote” ‘single’ «guillemets» „low“
&amp; &lt;b&gt; &#39;
http://example.com/a?b=c&d=e#f user@mail.org
C++ C# F# .NET node.js v1.2.3-rc.1
supercalifragilisticexpialidocious antidisestablishmentarianism
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
zxqjkvbw qqqq xkcd
x² + y² = z²
e = mc^2
ＡＢＣ ａｂｃ
Ａ　Ｂ
Ａ̈ Ä a̐éö̲
नि तमिழ்
🧑🏿‍🚀 in space, 4k
lora:thing:0.8 <lora:thing:0.8>
{red|green|blue} __wildcard__
trending on artstation:1.2
100% real, $5, €5, £5, ¥5
o_O :-) ;) <3 ^_^ ¯\_(ツ)_/¯
ᏣᎳᎩ ᏕᎪ Ა ა ǅ ǆ Ǆ
𝓗𝓮𝓵𝓵𝓸 𝕳𝖊𝖑𝖑𝖔 𐐀𐐨
ｶﾀｶﾅ カタカナ ガ
שָׁלוֹם مَرْحَبًا
""".strip("\n").split("\n")

RAW = ["", " ", "\n", "\t\r\n", "\x00", "a\x00b", "\x01\x02 x", "\x1f", "\x1c\x1d\x1e", "a\x7fb", "x\u00a0y", "x\u200by", "x\u200cy", "x\u200dy",
       "x\u2028y\u2029z", "x\u3000y", "x\u0085y", "x\u1680y\u2003z\u202fw\u205fv", "\ufeffa", "a\ufeff", "\ufffd", "\u00adsoft", "\ue000", "\U000e0001", "\U0010ffff",
       "e\u0301\u0323", "\u0323\u0301e", "cafe\u0301", "\u1100\u1161\u11a8", "\u212b\u2126\u212a", "\uf900\u2f800", "a\r\nb\rc\x0bd\x0ce", "   lead", "trail   ", " a ", "a\n\n\nb",
       "x" * 5000, "cat " * 2000, "," * 300, "\U0001f600" * 200, "日" * 500, "1" * 300, " " * 4000, "a" * 99 + " " + "b" * 101, "'" * 50, "é" * 300]


def texts():
    yield from ODD
    yield from RAW
    random.seed(1)
    words = [word for line in ODD for word in line.split()]
    alphabet = [chr(c) for c in [*range(32, 127), *range(0xA1, 0x180), *range(0x370, 0x460), *range(0x3041, 0x3097), *range(0x1F600, 0x1F640)]
                if chr(c).isprintable()] + list("  ,.'\u0301\u200d\ufe0f\t\n")
    for i in range(110):
        yield " ".join(random.choices(words, k=random.randint(1, 12)))
    for i in range(110):
        yield "".join(random.choices(alphabet, k=random.randint(1, 24)))


def main():
    clip = tokenizer()
    with open(os.path.join(HERE, "clip_tokens.jsonl"), "w", encoding="utf-8") as out:
        for text in dict.fromkeys(texts()):
            ids = clip(text, add_special_tokens=False)["input_ids"]
            out.write(json.dumps({"text": text, "ids": ids}) + "\n")


main()
