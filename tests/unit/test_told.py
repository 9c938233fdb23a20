"""What a word announces: national ids and passwords, in the languages that people write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.core.redaction import redact

if TYPE_CHECKING:
    from app.core.rules import Rules


IDS = [
    ("Reisepass-Nr.: {}", "JCFX3V28R"),
    ("HKID {}", "Y970766(0)"),
    ("身分證字號 {}", "F265541146"),
    ("मेरा आधार नंबर {} है", "2581 2076 3253"),
    ("N° de sécu {} à mettre sur la feuille", "2 78 12 59 501 368 37"),
    ("my NI number is {}, thanks", "ZE 64 77 37 A"),
    ("Employee, NIR {}, salary 1403.74", "2 88 05 67 131 085 29"),
    ("n° de sécurité sociale : {}", "1 71 03 75 189 264 06"),
    ("Steuer-Identifikationsnummer {} und mehr", "12 695 708 419"),
    ("IdNr. (Steuer-ID) {}", "42503678692"),
    ("AHV-Nr. {}", "756.6272.8492.02"),
    ("mijn rijksregisternummer is {}.", "96.06.15-084.69"),
    ("BSN-nummer {}", "238274482"),
    ("il mio codice fiscale è {} grazie", "FBTZVV87B50L219Y"),
    ("C.F. {}", "srggzf89t57d612k"),
    ("D.N.I. nº {}", "18621552Q"),
    ("mi NIE es el {}", "Y6853690A"),
    ("o meu NIF é {}", "257 249 559"),
    ("CPF do titular {}", "001.275.758-63"),
    ("mitt personnummer är {}", "19680307-1726"),
    ("fødselsnummeret mitt er {}", "21036744291"),
    ("CPR-nummer: {}", "210984-1210"),
    ("henkilötunnukseni on {}", "220557-022M"),
    ("T.C. Kimlik No: {}", "66645663888"),
    ("ИНН физлица {}", "784237959743"),
    ("мой СНИЛС {}", "153-867-155 93"),
    ("我的身份证号码是{}。", "440305196011181423"),
    ("マイナンバーは {} です", "9487 4390 8809"),
    ("주민등록번호: {}", "030217-3804806"),
    ("my PAN number is {}", "WKVPT7389V"),
    ("Social Insurance Number (SIN) {}", "146 305 479"),
    ("my tax file number is {}", "207 797 485"),
    ("passport no. {} is now here", "X1234567"),
    ("| Rijksregisternummer | {} |", "79080507634"),
    ("RČ: {} / start", "765318/1162"),
    ("SA ID number: {}", "7503279089086"),
    ("NRIC - {}", "S4210814F"),
    ("ת.ז. - {}", "365167055"),
    ("आधार संख्या: {}", "5474 1233 9150"),
    ("Personalausweisnummer: {} / start", "KTMRJJG6F"),
    ("con CUIL: {}, y", "27-43202415-1"),
]


@pytest.mark.parametrize(("around", "value"), IDS, ids=[around for around, _ in IDS])
def test_a_national_id_goes_whole_behind_its_word(rules: Rules, around: str, value: str) -> None:
    """And nothing around it does."""
    assert redact(around.format(value), rules).value == around.format("[REDACTED_NATIONAL_ID]")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("numero_securite_sociale", "201117520132883"),
        ("ahvNummer", "756.0002.7522.20"),
        ("social_insurance_number", 733037022),
        ("cpr_nummer", "020396-3548"),
        ("tckn", "65554157570"),
        ("my-number", "9201-0208-4073"),
        ("id_card", "510104198712028691"),
        ("sin", "407-988-138"),
        ("sin", 115258782),
        ("niNumber", "MS 126801 A"),
    ],
)
def test_a_national_id_goes_under_its_name(rules: Rules, name: str, value: object) -> None:
    """However the name is written."""
    assert redact({"citizen": {name: value}}, rules).value == {"citizen": {name: "[REDACTED_NATIONAL_ID]"}}


@pytest.mark.parametrize(
    "value",
    [
        {"sin": 0.8414709848078965, "cos": 0.54},
        {"sin": "0.84"},
        "Zamówienie 1716972 z dnia 2025/01/24, kwota",
        "SKU NI-448348-A34, SKU NIE-53156-YZ",
        "passport valid to 2031-05-12",
        "the passport office at 12 High Street",
        "pan shot 12345 of the film",
        "ich habe nie 200000 Euro gesehen",
        "NIR 12500 nm, SIN 30.1234567, RFC 2616-7231",
        "Albert Einstein was born on 14 March 1879 in Ulm",
    ],
)
def test_what_only_looks_like_a_national_id_stays(rules: Rules, value: object) -> None:
    """Sines, dates, and words that another language has."""
    assert redact({"note": value}, rules).value == {"note": value}


PASSWORDS = [
    ("Κωδικός μου είναι {}", "Lucky@429"),
    ("كلمة المرور الخاصة بي هي {}", "blue1990"),
    ("मेरा पासवर्ड {} है", "J72KaowEIfl5"),
    ("login Mary / pw {}", "S3cure2021"),
    ("la clave es {}", "barcelona9301"),
    ("mdp: {}", "PjNF9EV8"),
    ("Kodeord: {} Tak", "hejmeddig5650"),
    ("passordet mitt er {} men det virker ikke", "M0nk3y_679"),
    ("salasanani on {} mutta", "Kesa2001!"),
    ("parola d'ordine: {}", "2ajiKnYu5Lkv3nmaaxPh"),
    ("şifrem {} ama giremiyorum", "Sifr3-140"),
    ("비밀번호는 {} 입니다", "JMzDNrli"),
    ("my password is {} and it still says wrong", "vfzc-TCBB-bCnc"),
    ("Database=orders;Uid=app;Pwd={};", "YQuLSdORRi_VHxEdfcCt"),
    ("spring.datasource.password={}", "Txbfj6OW.fvSwYoY"),
    ("Benutzer fankhauser, Passwort {}", "Princesa23"),
    ("Kata sandi: {}", "Fs~DMZLK_x3b%CFenn"),
    ("비번은 {} 입니다", "oekazn0cd01"),
    ("mon mdp c {} et", "battery-tundra-ladder"),
    ("das pw lautet {} hat gestern noch", "dragon123#"),
    ("密码是 {}", "Wisła2019!!"),
    ("user/pass: maria / {}", "2G9fRHV_cv"),
    ("db.local:5432:webui:kirsty.stokes:{}", "jvma_fchs48"),
    ("password: {}\nhost: x", "akf.pmt930"),
    ('<wsse:Password Type="#PasswordText">{}</wsse:Password>', "Bonjour2024!"),
    ("ALTER ROLE app PASSWORD '{}';", "dte_lqhv42"),
    ("Password: {}...", "hunter2"),
    ("PSCredential('svc', (ConvertTo-SecureString '{}' -AsPlainText", "ladder-horse-pickle42"),
    ("svc:{}:19241:0:99999:7:::", "$6$H5cyl6g5QpWVhC84$MNkfx.c0x02KlIiT0FxNWlibwEiyN12DXqgY1LZ2AxIAPGnhAlf7ZnquxA"),
    ("userPassword: {{SSHA}}{}", "Kw5blx9yZRy8tmnGwJ5fzjhh"),
    ("PresharedKey = {}", "SkUuzZy69zVn5Rgbimg8gUvap0K8/8i+cQnzowuwbOE="),
    ("set -x CLIENT_SECRET {}", "2R0w8eWJPJ3GUoj-CxtcYKM4BA67MyVOJRE_Wn7Y"),
    ("//nexus.local/npm/:_auth={}", "Z2l1bGlldHRhaTpCb25qb3VyOTk="),
    ("WEBUI_SECRET_KEY={}", "RTxEeuPbIwtRypeh"),
    ("DJANGO_SECRET_KEY={}", "django-insecure-8p*svaic)v)7wq0a*+t42u&hz78j&pvzcse_zv25k82w5gwxuz"),
    ("mysql -u root -p'{}' -e 'show tables'", "kodeord.letmein.90"),
    ('{{"cmd": "mysql -u root -p\\"{}\\" shop"}}', "hunt er2"),
    ("redis-cli -h cache2.internal -a {} ping", "Rocket-2280"),
    ('dsn := "etl:{}@tcp(db01.example:3306)/crm"', "Winter%231651"),
    ("| NGROK_AUTHTOKEN | `{}` |", "2qqMxHS6H3hYQaOKMt8LsA3Kox3_GWNZfqzyEU6DTuxAZtL5a"),
    ("https://b.example/k?X-Amz-Expires=3600&X-Amz-Signature={}&x=1", "0123456789abcdef" * 4),
]


@pytest.mark.parametrize(("around", "value"), PASSWORDS, ids=[around for around, _ in PASSWORDS])
def test_a_secret_goes_whole_behind_what_announces_it(rules: Rules, around: str, value: str) -> None:
    """In prose, in a connection string, on a command line, in a table, in an address."""
    cleaned = redact(around.format(value), rules).value
    assert "REDACTED" in cleaned
    assert not any(value[place : place + 4] in cleaned for place in range(len(value) - 3))


@pytest.mark.parametrize(
    "text",
    [
        "la clave es que no funciona",
        "clave: usuario",
        "palabra clave: importante",
        "the password is secretKeyRef",
        "password=self.cfg.dbPw",
        "password: axiosConfig.dbPw",
        "mysql -u root -p -e 'show tables'",
        "docker run -p 8080:80 nginx",
        "redis-cli -a $REDIS_PASS ping",
        "postgres://USER:PASSWORD@HOST:5432/DB",
        "| eos_token | <|endoftext|> |",
        "f(signature=0123456789abcdef0123456789abcdef0123)",
        "systemctl status getty@tty3.service user@1000.service",
        "rxjs@18.29.31.post1, @types/node@1.13.14.post1",
        "doi:10.3712/j.cell.2007.60.316",
        "EC 6.6.6.56 (enzyme class), Abschnitt 2.1.9.8, WhatsApp 2.24.14.62 for Android",
        "SHA256 digest (base64): tO8MgCUWfldx7HPYEvMebkzxEdQFzUaaB1c2D3e4F5g=",
        "réf. 95731373",
        "La password è errata, riprova.",
        "password VARCHAR(255), phone VARCHAR(64)",
        "session_id = uuid4().hex",
        'api_key: "var.api_key"',
        'api_key: "sk-..."',
        "password: ghp_" + 36 * "x",
        "password: REPLACE_ME",
        "password: vault:kv/data/app#key",
        "Call stack depth 1024, call count 8130508, phone model Pixel 9",
        "AWS_SECRET_ACCESS_KEY=\nSESSION_TIMEOUT=4887\nAPI_KEY=\nPORT=5761",
        '<input type="password" name="password" minlength="11">',
        '<input type="password" name="password" autoComplete="current-password" maxLength={121} />',
        ': "${WALNUT_PASSWORD:?not set}"',
        "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?required}",
        "LoadCredential=token:/etc/quarry/token",
        "PublicKeyToken=f023ff5753b32e2c",
        "»Das Passwort ist abgelaufen« heißt es dann",
        "`password:` in the chart is a reference. Option 4 (Vault) scored 27 points",
        "/nix/store/d9k8v8l3di9shpas74dq3fgarzygahk7-kernel-15.29.19/bin/garden",
        "- uses: dynamo/engine@fac60a07ef22891d792f5e57cd3f78e090f64980 # v3\n      with: {token: x}",
        "string user_id = 1;",
        "pid=30560 uid=383 gid=569 tty=pts/0",
        "=CRASH REPORT==== 8-Nov-2022::20:26:28.835803 ===",
        "Obama, born on August 4, 1961, and Goethe, geboren am 28. August 1749",
        "ich bin am 5. März 2024 nach Berlin gefahren",
        "578  710  867  575  789  548",
        "awk '{print $1$2}'",
        "376 434 3528 5924\n473 997 1424 1846\n",
    ],
)
def test_what_nobody_would_miss_stays(rules: Rules, text: str) -> None:
    """Prose, code, placeholders, units, versions, publications, measurements."""
    assert redact(text, rules).value == text


@pytest.mark.parametrize(
    "text",
    [
        "date_of_birth={} plan=gold",
        "<dob>{}</dob>",
        "wir berichten über Mark, geb. am {}, wohnhaft",
        "Né(e) le {} — permis B",
        "生年月日 {}",
        "BDAY:{}",
        "Data di nascita: {}",
    ],
)
@pytest.mark.parametrize("date", ["1994-03-21", "26.08.1974", "11 March 1984"])
def test_a_birthday_goes_behind_the_words_that_say_so(rules: Rules, text: str, date: str) -> None:
    """In letters, forms, calendars and configuration."""
    assert redact(text.format(date), rules).value == text.format("[REDACTED_DATE_OF_BIRTH]")


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Data de nascimento: {}", "15 de julho de 1976"),
        ("geboren am {} in Bad Brückenau", "22.2.1957"),
        ("ich bin am {} geboren", "23. März 1941"),
        ("Née le {}", "19/08/1978"),
        ("nací el {}", "12 de enero de 2000"),
        ("narozen {}", "17.12.1950"),
        ("تاريخ الميلاد: {}", "04/12/1975"),
        ("생년월일: {}", "2004년 8월 31일"),
        ("Geb.-Datum {}", "15.10.1959"),
        ("I am Melissa, born {}, please find my booking", "11/04/78"),
        ("patient_id,dob,ward\n858334,{},3", "2005-02-20"),
    ],
)
def test_a_birthday_goes_as_people_tell_it(rules: Rules, text: str, date: str) -> None:
    """Of themselves, of patients and guests; months have names in every language."""
    assert redact(text.format(date), rules).value == text.format("[REDACTED_DATE_OF_BIRTH]")


def test_an_objects_uid_is_nobodys(rules: Rules) -> None:
    """Kubernetes gives every object a UUID; another `uid` is a user's."""
    uuid = "6d77b1a6-017c-4220-a9fd-6ea568e8070b"
    for value in ({"uid": uuid}, f'{{"uid": "{uuid}"}}'):
        assert redact({"a": value}, rules).value == {"a": value}
    assert redact({"uid": "u4711"}, rules).value == {"uid": "[REDACTED_USER_ID]"}


@pytest.mark.parametrize(
    ("name", "value", "stays"),
    [
        ("VERCEL_TOKEN", "2itp6QRPrDSbaQE69DDdW1Nb", False),
        (
            "AZURE_STORAGE_KEY",
            "aHLe3IGqQZ4UiS+Ls4FcQ3Lf02zGwJ3H1UveJsgzPRVdq2dLCO4nTgvdPZDt2wPSmBjQSLJCubevIPBGBBOfdQ==",
            False,
        ),
        ("token", "Hello", True),
        ("token", " antidisestablishmentarianism", True),
        ("eos_token", "<|endoftext|>", True),
        ("sort_key", "created_at_timestamp_desc", True),
        ("stop_token", "covid19", True),
    ],
)
def test_a_name_that_ends_in_token_hides_what_is_drawn_at_random(
    rules: Rules, name: str, value: str, *, stays: bool
) -> None:
    """The tokens of language models are words."""
    assert redact({"env": {name: value}}, rules).value == {"env": {name: value if stays else "[REDACTED_API_KEY]"}}
