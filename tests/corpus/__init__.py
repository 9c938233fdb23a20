"""A labelled corpus that judges redaction: what people really write, with what is personal in it marked.

It is drawn from a seed, and was written without a look at the detectors: a text is here because somebody may write it.
`python -m tests.corpus` (or `make corpus`) judges and prints; `tests/unit/test_corpus.py` holds the bar.

The rules by which it is labelled, from the design of redaction and, where that is silent, from what the writer meant:

- **E-mail**: an address with a domain that has a dot, also hidden (`name [at] host`, `name at host dot de`), percent-encoded
  (`name%40host`), with slipped blanks round the `@`, beyond ASCII. `a@b`, `user@host` and `pkg@1.2.3` are none. What stands
  on an allow-list by example (`noreply@example.com`) and `git@host:path` occur nowhere.
- **Phone**: any number that somebody calls one (beside a word of his language, within the same few words), whether a
  numbering plan knows it or not; without a word, one with `+` and a country code, or in a shape that nothing else has:
  `555-867-5309`, `(020) 7946 0958`, `07700 900 123`. An extension belongs to its number. Emergency numbers occur nowhere.
- **Payment card**: an issuer's prefix and length and a right check digit, whatever the grouping. A wrong check digit: clean.
- **SSN**: never 000, 666 or 9xx; in its dashes wherever it stands, otherwise beside its name. `000-...` and `666-...`: clean.
- **IP address**: any host's, private ones too. 127.0.0.1, ::1, 0.0.0.0, netmasks and networks (`10.0.0.0/8`) occur nowhere:
  one may argue for either. Four numbers are a version, and clean, if one of them is beyond 255, in a field `version`,
  behind the word "version", or with a `v` before them. A port or a zone behind an address is not part of it.
- **IBAN**: a right check (mod 97), whatever the grouping. **MAC address**: twelve digits in pairs or fours; a longer
  fingerprint is clean.
- **User and session ids**: the specification's shapes (`user123`, `user-4f2a`, `sess456`, `session_9a8b`), always with a digit.
  Words (`user_action`, `session-based`) and counts (`user 3 of 12`) are clean.
- **Wallets**: addresses with a right check of Bitcoin, Ethereum, Litecoin, Dogecoin, XRP, Tron, Solana and Cardano.
- **Date of birth, national ids**: whatever stands in a field of that name, also in a JSON text that is itself a string (a tool call's
  `arguments` are one). In running text they occur nowhere.
- **Password**: the value of `password=`, `pwd:`, `"client_secret": "..."` and the like, in a dozen languages, also weak ones and
  those in prose ("my password is ..."). A type, a call, a reference to a variable, asterisks, `<your password>` and `null` are clean.
- **URL with a password**: the password is the label; that more of the URL is taken is no error, but counted as excess.
- **HTTP credentials**: the credential behind `Bearer` or `Basic`. **JWT**, **PEM private keys**: the whole of them.
- **Vendor tokens**: by their makers' shapes, Twilio's account number (`AC...`) among them; of a Slack webhook the last part.
- **API key**: what a key's name announces (also hexadecimal), and without a name 32 or more letters and digits in both cases. A
  nameless hexadecimal run that stands alone may be a digest or a key and occurs nowhere; with a file's name behind it, or
  behind `commit`, `ETag`, `sha256` or "hash", it is a digest, and clean. So are UUIDs, ULIDs, trace and span ids.
- **Names of people, streets, companies, dates, orders, amounts** are not labelled: no detector looks for them, and taking one is
  a false finding.
- In a value of a field that decides (`password`, `user_id`, `email`, ...) the whole value is the label.
- A text that another service redacted already (`[REDACTED_EMAIL] wrote`) is clean.
"""
