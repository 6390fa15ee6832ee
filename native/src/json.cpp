#include "json.hpp"

#include <charconv>
#include <cmath>

#include "errors.hpp"

namespace mobilenets {
namespace {

constexpr int deepest = 100;

/// Whether a text is valid UTF-8, without overlong encodings and surrogates.
bool is_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const auto first = static_cast<unsigned char>(text[i]);
        const std::size_t more = first < 0x80 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
        if ((first >= 0x80 && first < 0xC2) || first > 0xF4 || i + more >= text.size() + (more == 0)) return false;
        unsigned code = more == 0 ? first : first & (0x3FU >> more);
        for (std::size_t k = 1; k <= more; ++k) {
            const auto next = static_cast<unsigned char>(text[i + k]);
            if ((next & 0xC0) != 0x80) return false;
            code = code << 6 | (next & 0x3F);
        }
        if ((more == 2 && (code < 0x800 || (code >= 0xD800 && code < 0xE000))) ||
            (more == 3 && (code < 0x10000 || code > 0x10FFFF)))
            return false;
        i += more + 1;
    }
    return true;
}

class Parser {
public:
    explicit Parser(std::string_view text) : text_(text) {}

    Json whole() {
        Json value = parse_value(0);
        skip_space();
        if (at_ != text_.size()) fail("something follows the JSON value");
        return value;
    }

private:
    [[noreturn]] void fail(const char* problem) const {
        throw GraphError("not JSON: " + std::string(problem) + " at byte " + std::to_string(at_));
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    void expect(char wanted) {
        if (peek() != wanted || at_ >= text_.size()) fail("another character is expected");
        ++at_;
    }

    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    Json parse_value(int depth) {
        if (depth > deepest) fail("it is nested too deep");
        skip_space();
        Json value;
        if (peek() == '{') {
            parse_object(value, depth);
        } else if (peek() == '[') {
            parse_list(value, depth);
        } else if (peek() == '"') {
            value.kind = Json::Kind::text;
            value.text = parse_text();
        } else if (take("null")) {
            value.kind = Json::Kind::null;
        } else if (take("true") || take("false")) {
            value.kind = Json::Kind::boolean;
            value.boolean = text_[at_ - 2] == 'u';
        } else {
            parse_number(value);
        }
        return value;
    }

    void parse_object(Json& value, int depth) {
        value.kind = Json::Kind::object;
        expect('{');
        skip_space();
        if (peek() == '}') {
            ++at_;
            return;
        }
        while (true) {
            skip_space();
            std::string name = parse_text();
            skip_space();
            expect(':');
            value.fields.emplace_back(std::move(name), parse_value(depth + 1));
            skip_space();
            if (peek() == '}') break;
            expect(',');
        }
        expect('}');
    }

    void parse_list(Json& value, int depth) {
        value.kind = Json::Kind::list;
        expect('[');
        skip_space();
        if (peek() == ']') {
            ++at_;
            return;
        }
        while (true) {
            value.items.push_back(parse_value(depth + 1));
            skip_space();
            if (peek() == ']') break;
            expect(',');
        }
        expect(']');
    }

    void parse_number(Json& value) {
        const char* first = text_.data() + at_;
        const char* last = text_.data() + text_.size();
        auto whole = std::from_chars(first, last, value.integer);
        auto real = std::from_chars(first, last, value.real);
        if (real.ec != std::errc() || !std::isfinite(value.real)) fail("a number is expected");
        const bool is_integer = whole.ec == std::errc() && whole.ptr == real.ptr;
        value.kind = is_integer ? Json::Kind::integer : Json::Kind::real;
        at_ += static_cast<std::size_t>(real.ptr - first);
    }

    std::string parse_text() {
        expect('"');
        std::string made;
        while (true) {
            if (at_ >= text_.size()) fail("a text has no end");
            const char c = text_[at_++];
            if (c == '"') return made;
            if (static_cast<unsigned char>(c) < 0x20) fail("a text has a control character");
            if (c == '\\') {
                append_escaped(made);
            } else {
                made += c;
            }
        }
    }

    void append_escaped(std::string& made) {
        const char c = peek();
        ++at_;
        switch (c) {
            case '"':
            case '\\':
            case '/': made += c; return;
            case 'b': made += '\b'; return;
            case 'f': made += '\f'; return;
            case 'n': made += '\n'; return;
            case 'r': made += '\r'; return;
            case 't': made += '\t'; return;
            case 'u': append_unicode(made); return;
            default: fail("an escape is unknown");
        }
    }

    unsigned parse_hex() {
        unsigned code = 0;
        const std::string_view digits = text_.substr(at_, 4);
        auto end = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16).ptr;
        if (digits.size() != 4 || end != digits.data() + 4) fail("four hexadecimal digits are expected");
        at_ += 4;
        return code;
    }

    void append_unicode(std::string& made) {
        unsigned code = parse_hex();
        if (code >= 0xD800 && code < 0xDC00) {
            if (!take("\\u")) fail("half of a surrogate pair is missing");
            const unsigned low = parse_hex();
            if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair is missing");
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (code >= 0xDC00 && code <= 0xDFFF) {
            fail("half of a surrogate pair is missing");
        }
        const auto add = [&made](unsigned byte) { made += static_cast<char>(byte); };
        if (code < 0x80) {
            add(code);
        } else if (code < 0x800) {
            add(0xC0 | (code >> 6)), add(0x80 | (code & 0x3F));
        } else if (code < 0x10000) {
            add(0xE0 | (code >> 12)), add(0x80 | ((code >> 6) & 0x3F)), add(0x80 | (code & 0x3F));
        } else {
            add(0xF0 | (code >> 18)), add(0x80 | ((code >> 12) & 0x3F));
            add(0x80 | ((code >> 6) & 0x3F)), add(0x80 | (code & 0x3F));
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

Json Json::parse(std::string_view text) {
    if (!is_utf8(text)) throw GraphError("not JSON: it is not UTF-8");
    return Parser(text).whole();
}

const Json* Json::find(std::string_view name) const {
    for (auto field = fields.rbegin(); field != fields.rend(); ++field) {
        if (field->first == name) return &field->second;
    }
    return nullptr;
}

}  // namespace mobilenets
