"""Secrets in text: vendors' tokens by their form, and what carries a secret whoever issued it."""

from __future__ import annotations

import base64
import random
import re
import re._parser as pattern_parser
from typing import TYPE_CHECKING

import pytest
import re2

from app.core.detectors import load_rules
from app.core.redaction import redact
from app.settings import ROOT

if TYPE_CHECKING:
    from app.core.rules import Rules

SHIPPED = (ROOT / "config" / "detectors.toml").read_text(encoding="utf-8")
SECRETS = SHIPPED[SHIPPED.index("# ---- secrets") : SHIPPED.index("# ---- keys without")]

HEX = "0123456789abcdef"
LOWER = "abcdefghijklmnopqrstuvwxyz"
UPPER = LOWER.upper()
DIGITS = "0123456789"
ALNUM = LOWER + UPPER + DIGITS
URL = ALNUM + "-_"
B64 = ALNUM + "+/"
CAPS = UPPER + DIGITS
SMALL = LOWER + DIGITS
BECH32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"

Part = str | tuple[str, int]
Form = tuple[Part, ...]


def uuid() -> Form:
    return ((HEX, 8), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 12))


# A vendor's forms, as parts: a text as it stands, or (alphabet, length). No whole token is written here, so that no
# scanner of repositories takes one for true. The near misses are too short, of another alphabet, or another prefix.
VENDORS: list[tuple[str, list[Form], list[Form]]] = [
    (
        "aws_access_key_id",
        [("AKIA", (CAPS, 16)), ("ASIA", (CAPS, 16))],
        [("AKIA", (CAPS, 15)), ("AKIB", (CAPS, 16)), ("AKIA", (LOWER, 16)), ("AKIA", (CAPS, 17))],
    ),
    (
        "github_token",
        [(f"gh{kind}_", (ALNUM, 36)) for kind in "pousr"] + [("github_pat_", (ALNUM, 22), "_", (ALNUM, 59))],
        [("ghp_", (ALNUM, 35)), ("ghx_", (ALNUM, 36)), ("ghp-", (ALNUM, 36)), ("github_pat_", (ALNUM, 22))],
    ),
    (
        "gitlab_token",
        [
            ("glpat-", (URL, 20)),
            ("gldt-", (URL, 20)),
            ("glrt-", (URL, 20)),
            ("glptt-", (HEX, 40)),
            ("glagent-", (URL, 50)),
            ("glpat-", (URL, 27), ".", (SMALL, 2), ".", (SMALL, 9)),
        ],
        [("glpat-", (ALNUM, 19)), ("glpot-", (URL, 20)), ("glpat", (ALNUM, 20))],
    ),
    (
        "slack_token",
        [
            ("xoxb-", (DIGITS, 12), "-", (DIGITS, 13), "-", (ALNUM, 24)),
            ("xoxp-", (DIGITS, 11), "-", (DIGITS, 12), "-", (DIGITS, 12), "-", (HEX, 32)),
            ("xapp-1-A", (CAPS, 10), "-", (DIGITS, 13), "-", (HEX, 64)),
            ("xoxe.xoxp-1-", (CAPS, 166)),
        ],
        [("xoxb-", (LOWER, 24)), ("xoxz-", (DIGITS, 12), "-", (ALNUM, 24))],
    ),
    (
        "slack_webhook",
        [("https://hooks.slack.com/services/T", (CAPS, 8), "/B", (CAPS, 10), "/", (ALNUM, 24))],
        [
            ("https://hooks.slack.com/services/T", (CAPS, 8)),
            ("https://hooks.example.com/services/T", (CAPS, 8), "/B", (CAPS, 10), "/", (ALNUM, 24)),
        ],
    ),
    (
        "stripe_key",
        [("sk_live_", (ALNUM, 24)), ("sk_test_", (ALNUM, 99)), ("rk_live_", (ALNUM, 24)), ("whsec_", (ALNUM, 32))],
        [("sk_live_", (ALNUM, 9)), ("pk_live_", (ALNUM, 24)), ("desk_live_", (ALNUM, 24))],
    ),
    (
        "google_api_key",
        [("AIza", (URL, 34), (ALNUM, 1))],
        [("AIza", (ALNUM, 34)), ("BIza", (URL, 35)), ("xAIza", (URL, 35))],
    ),
    (
        "google_oauth_token",
        [("ya29.", (URL, 160)), ("GOCSPX-", (URL, 28)), ("1//0", (URL, 60))],
        [("ya29.", (ALNUM, 19)), ("ya28.", (URL, 160)), ("GOCSPX-", (ALNUM, 27))],
    ),
    (
        "google_service_account_key",
        [('"private_key_id": "', (HEX, 40), '"')],
        [('"private_key_id": "', (HEX, 39), '"'), ('"key_id": "', (HEX, 40), '"')],
    ),
    (
        "firebase_key",
        [("AAAA", (URL, 7), ":APA91b", (URL, 134))],
        [("AAAA", (URL, 7), ":APA91c", (URL, 134)), ("AAAA", (URL, 7), ":APA91b", (URL, 99))],
    ),
    (
        "openai_key",
        [
            ("sk-proj-", (URL, 74), "T3BlbkFJ", (URL, 74)),
            ("sk-svcacct-", (URL, 58)),
            ("sk-", (ALNUM, 20), "T3BlbkFJ", (ALNUM, 20)),
            ("sk-", (ALNUM, 48)),
        ],
        [("sk-proj-", (ALNUM, 19)), ("sk-", (ALNUM, 47)), ("desk-", (ALNUM, 48))],
    ),
    (
        "anthropic_key",
        [("sk-ant-api03-", (URL, 93), "AA"), ("sk-ant-admin01-", (URL, 93), "AA")],
        [("sk-ant-api03-", (URL, 39)), ("sk-bee-api03-", (URL, 95))],
    ),
    (
        "huggingface_token",
        [("hf_", (ALNUM, 34)), ("api_org_", (ALNUM, 34))],
        [("hf_", (ALNUM, 33)), ("shelf_", (ALNUM, 34)), ("hf-", (ALNUM, 34))],
    ),
    (
        "npm_token",
        [("npm_", (ALNUM, 36)), ("//npm.example/:_authToken=", *uuid())],
        [("npm_", (ALNUM, 35)), ("npm-", (ALNUM, 36))],
    ),
    ("pypi_token", [("pypi-AgEIcHlwaS5vcmc", (URL, 150))], [("pypi-AgE", (URL, 49)), ("pypi-", (SMALL, 120))]),
    (
        "twilio_key",
        [("SK", (HEX, 32)), ("AC", (HEX, 32))],
        [("SK", (HEX, 31)), ("SK", (HEX, 33)), ("AB", (HEX, 32)), ("ASK", (HEX, 32))],
    ),
    (
        "sendgrid_key",
        [("SG.", (URL, 22), ".", (URL, 43))],
        [("SG.", (URL, 22)), ("SG.", (URL, 15), ".", (URL, 43)), ("MSG.", (URL, 22), ".", (URL, 43))],
    ),
    (
        "mailgun_key",
        [("key-", (HEX, 32)), ((HEX, 32), "-", (HEX, 8), "-", (HEX, 8))],
        [("key-", (HEX, 31)), ("monkey-", (HEX, 32)), uuid()],
    ),
    ("mailchimp_key", [((HEX, 32), "-us12"), ((HEX, 32), "-us6")], [((HEX, 31), "-us12"), ((HEX, 32), "-eu12")]),
    (
        "digitalocean_token",
        [(f"do{kind}_v1_", (HEX, 64)) for kind in "por"],
        [("dop_v1_", (HEX, 63)), ("dop_v1_", (UPPER, 64)), ("dox_v1_", (HEX, 64))],
    ),
    (
        "shopify_token",
        [(f"shp{kind}_", (HEX, 32)) for kind in ("at", "ca", "pa", "ss")],
        [("shpat_", (HEX, 31)), ("shpat_", ("ghijkl", 32)), ("shpxx_", (HEX, 32))],
    ),
    (
        "square_token",
        [("sq0atp-", (URL, 22)), ("sq0csp-", (URL, 43)), ("EAAA", (URL, 59), (ALNUM, 1))],
        [("sq0atp-", (ALNUM, 21)), ("sq0idp-", (ALNUM, 22)), ("EAAA", (ALNUM, 59))],
    ),
    (
        "braintree_token",
        [("access_token$production$", (SMALL, 16), "$", (HEX, 32))],
        [
            ("access_token$production$", (SMALL, 15), "$", (HEX, 32)),
            ("access_token$staging$", (SMALL, 16), "$", (HEX, 32)),
        ],
    ),
    (
        "datadog_key",
        [("DD_API_KEY=", (HEX, 32)), ("datadog_app_key: ", (HEX, 40))],
        [("DD_API_KEY=", (HEX, 31)), ("ADD_KEY=", (HEX, 32))],
    ),
    (
        "new_relic_key",
        [
            ("NRAK-", (CAPS, 27)),
            ("NRJS-", (HEX, 19)),
            ("NRII-", (URL, 32)),
            ("NEW_RELIC_LICENSE_KEY=", (SMALL, 36), "NRAL"),
        ],
        [("NRAK-", (CAPS, 18)), ("NRXX-", (CAPS, 27))],
    ),
    (
        "sentry_token",
        [("sntrys_eyJ", (B64, 120), "==_", (B64, 43)), ("sntryu_", (HEX, 64))],
        [("sntrys_eyJ", (ALNUM, 39)), ("sntryu_", (HEX, 63)), ("sntryx_", (HEX, 64))],
    ),
    (
        "grafana_token",
        [("glsa_", (ALNUM, 32), "_", (HEX, 8)), ("glc_", (B64, 60), "=="), ("eyJrIjoi", (ALNUM, 70))],
        [("glsa_", (ALNUM, 31), "_", (HEX, 8)), ("glc_", (B64, 31)), ("glsb_", (ALNUM, 32), "_", (HEX, 8))],
    ),
    (
        "databricks_token",
        [("dapi", (HEX, 32)), ("dapi", (HEX, 32), "-2")],
        [("dapi", (HEX, 31)), ("dapi", (HEX, 33)), ("xdapi", (HEX, 32))],
    ),
    (
        "linear_key",
        [("lin_api_", (ALNUM, 40)), ("lin_oauth_", (HEX, 64))],
        [("lin_api_", (ALNUM, 39)), ("lin_app_", (ALNUM, 40))],
    ),
    (
        "notion_token",
        [("ntn_", (DIGITS, 11), (ALNUM, 35)), ("secret_", (ALNUM, 43))],
        [("ntn_", (ALNUM, 39)), ("secret_", (ALNUM, 42)), ("ntm_", (ALNUM, 46))],
    ),
    (
        "atlassian_token",
        [("ATATT3", (URL, 178), "=", (CAPS, 8)), ("ATBB", (ALNUM, 32))],
        [("ATATT3", (URL, 49)), ("ATATT4", (URL, 186)), ("ATBB", (ALNUM, 31))],
    ),
    (
        "telegram_token",
        [
            ((DIGITS, 10), ":AA", (URL, 32), (ALNUM, 1)),
            ("https://api.telegram.org/bot", (DIGITS, 9), ":AA", (URL, 32), (ALNUM, 1), "/getMe"),
        ],
        [((DIGITS, 10), ":AA", (ALNUM, 32)), ((DIGITS, 10), ":AB", (ALNUM, 33)), ((DIGITS, 6), ":AA", (ALNUM, 33))],
    ),
    (
        "discord_token",
        [("MTAx", (URL, 22), ".", (URL, 6), ".", (URL, 38)), ("NzE4", (URL, 20), ".", (URL, 6), ".", (URL, 27))],
        [("MTAx", (URL, 22), ".", (URL, 5), ".", (URL, 38)), ("MAIN", (URL, 22), ".", (URL, 6), ".", (URL, 38))],
    ),
    (
        "discord_webhook",
        [("https://discord.com/api/webhooks/", (DIGITS, 18), "/", (URL, 68))],
        [
            ("https://discord.com/api/webhooks/", (DIGITS, 18), "/", (URL, 59)),
            ("https://example.com/api/webhooks/", (DIGITS, 18), "/", (URL, 68)),
        ],
    ),
    (
        "facebook_token",
        [("EAAC", (ALNUM, 160))],
        [("EAAC", (ALNUM, 79)), ("EAA0", (ALNUM, 160)), ("xEAAC", (ALNUM, 160))],
    ),
    ("heroku_key", [("HRKU-AA", (URL, 58)), ("HRKU-", *uuid())], [("HRKU-", (ALNUM, 35)), ("HRKX-", *uuid())]),
    (
        "vault_token",
        [("hvs.", (URL, 95)), ("hvb.", (URL, 160))],
        [("hvs.", (ALNUM, 23)), ("hvx.", (URL, 95)), ("xhvs.", (URL, 95))],
    ),
    (
        "terraform_token",
        [((ALNUM, 14), ".atlasv1.", (URL, 67))],
        [((ALNUM, 14), ".atlasv1.", (URL, 59)), ((ALNUM, 14), ".atlasv2.", (URL, 67))],
    ),
    (
        "doppler_token",
        [("dp.pt.", (ALNUM, 43)), ("dp.st.prd.", (ALNUM, 43))],
        [("dp.pt.", (ALNUM, 39)), ("dp.xx.", (ALNUM, 43))],
    ),
    ("pulumi_token", [("pul-", (HEX, 40))], [("pul-", (HEX, 39)), ("pul-", (HEX, 41)), ("pul_", (HEX, 40))]),
    (
        "postman_key",
        [("PMAK-", (HEX, 24), "-", (HEX, 34))],
        [("PMAK-", (HEX, 24), "-", (HEX, 33)), ("PMAC-", (HEX, 24), "-", (HEX, 34))],
    ),
    (
        "docker_token",
        [("dckr_pat_", (URL, 27)), ("dckr_oat_", (URL, 32))],
        [("dckr_pat_", (ALNUM, 26)), ("dckr_cat_", (URL, 27))],
    ),
    ("rubygems_key", [("rubygems_", (HEX, 48))], [("rubygems_", (HEX, 47)), ("rubygem_", (HEX, 48))]),
    (
        "crates_token",
        [("cio", (ALNUM, 31), (DIGITS, 1))],
        [("cio", (ALNUM, 31)), ("cio", (ALNUM, 33)), ("cio", (LOWER, 32))],
    ),
    ("nuget_key", [("oy2", (SMALL, 43))], [("oy2", (SMALL, 42)), ("oy2", (SMALL, 44)), ("oy3", (SMALL, 43))]),
    (
        "fly_token",
        [("fo1_", (URL, 43)), ("FlyV1 fm2_", (B64, 200), "==")],
        [("fo1_", (ALNUM, 42)), ("fm3_", (B64, 200))],
    ),
    (
        "supabase_token",
        [("sbp_", (HEX, 40)), ("sb_secret_", (URL, 31))],
        [("sbp_", (HEX, 39)), ("sb_publishable_", (URL, 31)), ("sb_secret_", (ALNUM, 19))],
    ),
    (
        "planetscale_token",
        [("pscale_tkn_", (URL, 42), (ALNUM, 1)), ("pscale_pw_", (URL, 42), (ALNUM, 1))],
        [("pscale_tkn_", (ALNUM, 31)), ("pscale_xyz_", (URL, 43))],
    ),
    (
        "vercel_token",
        [("vcp_", (ALNUM, 56)), ("VERCEL_TOKEN=", (ALNUM, 24))],
        [("vcp_", (ALNUM, 23)), ("vcz_", (ALNUM, 56)), ("VERCEL_TOKEN=", (ALNUM, 23))],
    ),
    ("netlify_token", [("nfp_", (ALNUM, 36)), ("nfo_", (ALNUM, 40))], [("nfp_", (ALNUM, 35)), ("nfx_", (ALNUM, 36))]),
    (
        "cloudflare_token",
        [
            ("v1.0-", (HEX, 24), "-", (HEX, 146)),
            ("CLOUDFLARE_API_TOKEN=", (URL, 39), (ALNUM, 1)),
            ("CF_API_KEY: ", (HEX, 37)),
        ],
        [("v1.0-", (HEX, 24), "-", (HEX, 145)), ("CLOUDFLARE_API_TOKEN=", (ALNUM, 36))],
    ),
    ("groq_key", [("gsk_", (ALNUM, 52))], [("gsk_", (ALNUM, 47)), ("gsx_", (ALNUM, 52))]),
    ("replicate_token", [("r8_", (ALNUM, 37))], [("r8_", (ALNUM, 36)), ("r9_", (ALNUM, 37)), ("vr8_", (ALNUM, 37))]),
    ("perplexity_key", [("pplx-", (ALNUM, 48))], [("pplx-", (ALNUM, 39)), ("pply-", (ALNUM, 48))]),
    (
        "cohere_key",
        [("COHERE_API_KEY=", (ALNUM, 40)), ("CO_API_KEY: ", (ALNUM, 40))],
        [("COHERE_API_KEY=", (ALNUM, 39)), ("COHERENT_", (ALNUM, 40))],
    ),
    ("xai_key", [("xai-", (ALNUM, 80))], [("xai-", (ALNUM, 69)), ("yai-", (ALNUM, 80))]),
    (
        "mistral_key",
        [("MISTRAL_API_KEY=", (ALNUM, 32))],
        [("MISTRAL_API_KEY=", (ALNUM, 31)), ("mistral ", (ALNUM, 32))],
    ),
    ("openrouter_key", [("sk-or-v1-", (HEX, 64))], [("sk-or-v1-", (HEX, 63)), ("ask-or-v1-", (HEX, 64))]),
    (
        "langsmith_key",
        [("lsv2_pt_", (HEX, 32), "_", (HEX, 10)), ("lsv2_sk_", (HEX, 32), "_", (HEX, 10))],
        [("lsv2_pt_", (HEX, 31), "_", (HEX, 10)), ("lsv3_pt_", (HEX, 32), "_", (HEX, 10))],
    ),
    (
        "pinecone_key",
        [("pcsk_", (ALNUM, 6), "_", (ALNUM, 63))],
        [("pcsk_", (ALNUM, 4), "_", (ALNUM, 63)), ("pcsk_", (ALNUM, 6), "_", (ALNUM, 49))],
    ),
    (
        "tailscale_key",
        [("tskey-auth-k", (ALNUM, 10), "CNTRL-", (ALNUM, 32)), ("tskey-api-k", (ALNUM, 10), "CNTRL-", (ALNUM, 32))],
        [("tskey-auth-k", (ALNUM, 10), "CNTRL-", (ALNUM, 15)), ("tskay-auth-k", (ALNUM, 10), "CNTRL-", (ALNUM, 32))],
    ),
    (
        "age_secret_key",
        [("AGE-SECRET-KEY-1", (BECH32, 58))],
        [("AGE-SECRET-KEY-1", (BECH32, 57)), ("AGE-SECRET-KEY-1", ("B1IO", 58)), ("AGE-PUBLIC-KEY-1", (BECH32, 58))],
    ),
    (
        "azure_storage_key",
        [("DefaultEndpointsProtocol=https;AccountKey=", (B64, 86), "=="), ("SharedAccessKey=", (B64, 43), "=")],
        [("AccountKey=", (B64, 85), "=="), ("SharedAccessKeyName=", (B64, 43), "=")],
    ),
    (
        "azure_sas",
        [("https://x.blob.example/c?sv=2024-11-04&sig=", (ALNUM, 43), "%3D&se=2026")],
        [("https://x.example/c?sv=1&sig=", (ALNUM, 42)), ("https://x.example/c?design=", (ALNUM, 50))],
    ),
    (
        "azure_client_secret",
        [((ALNUM, 3), "8Q~", (ALNUM, 34)), ((ALNUM, 3), "7Q~", (URL, 33), (ALNUM, 1))],
        [((ALNUM, 3), "8Q~", (ALNUM, 30)), ((ALNUM, 3), "6Q~", (ALNUM, 34))],
    ),
    ("sonar_token", [(f"sq{kind}_", (HEX, 40)) for kind in "pua"], [("sqp_", (HEX, 39)), ("sqx_", (HEX, 40))]),
    (
        "jfrog_token",
        [("AKCp", (ALNUM, 69)), ("cmVmd", (ALNUM, 59))],
        [("AKCp", (ALNUM, 59)), ("AKCq", (ALNUM, 69)), ("cmVmd", (ALNUM, 58))],
    ),
    (
        "airtable_token",
        [("pat", (ALNUM, 14), ".", (HEX, 64))],
        [("pat", (ALNUM, 13), ".", (HEX, 64)), ("pat", (ALNUM, 14), ".", (HEX, 63))],
    ),
    ("figma_token", [("figd_", (URL, 43)), ("figo_", (URL, 40))], [("figd_", (ALNUM, 39)), ("figs_", (URL, 43))]),
    ("dropbox_token", [("sl.", (URL, 136)), ("sl.u.", (URL, 1200))], [("sl.", (URL, 119)), ("xsl.", (URL, 136))]),
    (
        "okta_token",
        [("Authorization: SSWS 00", (URL, 39), (ALNUM, 1)), ("OKTA_API_TOKEN=00", (URL, 39), (ALNUM, 1))],
        [("SSWS 00", (ALNUM, 39)), ("OKTA_API_TOKEN=01", (ALNUM, 40))],
    ),
    (
        "adyen_key",
        [("AQE", (B64, 100), "-", (B64, 43), "=-", (ALNUM + "<,]?:@;(", 16))],
        [("AQE", (B64, 39), "-", (B64, 43), "=-", (ALNUM, 16)), ("AQF", (B64, 100), "-", (B64, 43), "=-", (ALNUM, 16))],
    ),
    (
        "flutterwave_key",
        [("FLWSECK-", (HEX, 32), "-X"), ("FLWSECK_TEST-", (HEX, 12))],
        [("FLWSECK-", (HEX, 11)), ("FLWPUBK-", (HEX, 32), "-X")],
    ),
    (
        "razorpay_key",
        [("rzp_live_", (ALNUM, 14)), ("rzp_test_", (ALNUM, 14))],
        [("rzp_live_", (ALNUM, 13)), ("rzp_demo_", (ALNUM, 14))],
    ),
    (
        "easypost_key",
        [("EZAK", (ALNUM, 54)), ("EZTK", (ALNUM, 54))],
        [("EZAK", (ALNUM, 53)), ("EZAK", (ALNUM, 55)), ("EZBK", (ALNUM, 54))],
    ),
    (
        "duffel_token",
        [("duffel_live_", (URL, 43)), ("duffel_test_", (URL, 43))],
        [("duffel_live_", (ALNUM, 39)), ("duffel_demo_", (URL, 43))],
    ),
    ("frameio_token", [("fio-u-", (URL, 64))], [("fio-u-", (URL, 63)), ("fio-x-", (URL, 64))]),
    ("prefect_key", [("pnu_", (ALNUM, 36)), ("pnb_", (ALNUM, 36))], [("pnu_", (ALNUM, 35)), ("pnx_", (ALNUM, 36))]),
    ("typeform_token", [("tfp_", (URL, 58), (ALNUM, 1))], [("tfp_", (ALNUM, 39)), ("tfx_", (URL, 59))]),
    (
        "zapier_webhook",
        [("https://hooks.zapier.com/hooks/catch/", (DIGITS, 7), "/", (SMALL, 7))],
        [("https://zapier.com/hooks/catch/", (DIGITS, 7), "/", (SMALL, 7))],
    ),
    (
        "onepassword_token",
        [
            ("ops_eyJ", (B64, 850)),
            ("ops_eyJ", (B64, 300), "=="),
            ("A3-", (CAPS, 6), "-", (CAPS, 6), "-", (CAPS, 5), "-", (CAPS, 5), "-", (CAPS, 5), "-", (CAPS, 5)),
        ],
        [
            ("ops_eyJ", (ALNUM, 99)),
            ("A4-", (CAPS, 6), "-", (CAPS, 6), "-", (CAPS, 5), "-", (CAPS, 5), "-", (CAPS, 5), "-", (CAPS, 5)),
        ],
    ),
    ("buildkite_token", [("bkua_", (HEX, 40))], [("bkua_", (HEX, 39)), ("bkxx_", (HEX, 40))]),
    (
        "circleci_token",
        [("CCIPAT_", (ALNUM, 22), "_", (HEX, 40)), ("CCIPRJ_", (ALNUM, 22), "_", (HEX, 40))],
        [("CCIPAT_", (ALNUM, 22), "_", (HEX, 39)), ("CCIPXX_", (ALNUM, 22), "_", (HEX, 40))],
    ),
    ("contentful_token", [("CFPAT-", (URL, 43))], [("CFPAT-", (ALNUM, 42)), ("CFPAX-", (URL, 43))]),
    ("intercom_token", [("dG9rOj", (B64, 53), "=")], [("dG9rOj", (B64, 39)), ("dG9rZW4", (B64, 53))]),
    ("hubspot_token", [("pat-na1-", *uuid()), ("pat-eu1-", *uuid())], [("pat-xx1-", *uuid()), uuid()]),
    (
        "plaid_token",
        [("access-production-", *uuid()), ("access-sandbox-", *uuid())],
        [("access-staging-", *uuid()), uuid()],
    ),
    (
        "dynatrace_token",
        [("dt0c01.", (CAPS, 24), ".", (CAPS, 64))],
        [("dt0c01.", (CAPS, 24), ".", (CAPS, 63)), ("dt1c01.", (CAPS, 24), ".", (CAPS, 64))],
    ),
    (
        "brevo_key",
        [("xkeysib-", (HEX, 64), "-", (ALNUM, 16))],
        [("xkeysib-", (HEX, 63), "-", (ALNUM, 16)), ("xkeysab-", (HEX, 64), "-", (ALNUM, 16))],
    ),
    ("readme_key", [("rdme_", (SMALL, 70))], [("rdme_", (SMALL, 69)), ("rdmx_", (SMALL, 70))]),
    (
        "shippo_token",
        [("shippo_live_", (HEX, 40)), ("shippo_test_", (HEX, 40))],
        [("shippo_live_", (HEX, 39)), ("shippo_demo_", (HEX, 40))],
    ),
    (
        "sourcegraph_token",
        [("sgp_", (HEX, 40)), ("sgp_", (HEX, 16), "_", (HEX, 40))],
        [("sgp_", (HEX, 39)), ("sgx_", (HEX, 40))],
    ),
    ("openshift_token", [("sha256~", (URL, 43))], [("sha256~", (ALNUM, 42)), ("sha256:", (HEX, 64))]),
    ("clojars_token", [("CLOJARS_", (HEX, 60))], [("CLOJARS_", (HEX, 59)), ("CLOJURE_", (HEX, 60))]),
    (
        "alibaba_key",
        [("LTAI", (ALNUM, 19), (DIGITS, 1))],
        [("LTAI", (ALNUM, 11)), ("LTAI", (ALNUM, 25)), ("LTAI", (LOWER, 20))],
    ),
    (
        "octopus_key",
        [("API-", (CAPS, 25), (DIGITS, 1))],
        [("API-", (CAPS, 24)), ("API-", (UPPER, 26)), ("APX-", (CAPS, 26))],
    ),
    ("posthog_key", [("phx_", (ALNUM, 43))], [("phx_", (ALNUM, 39)), ("phc_", (ALNUM, 43))]),
    (
        "harness_token",
        [("pat.", (URL, 22), ".", (ALNUM, 24), ".", (ALNUM, 20))],
        [
            ("pat.", (URL, 21), ".", (ALNUM, 24), ".", (ALNUM, 20)),
            ("bat.", (URL, 22), ".", (ALNUM, 24), ".", (ALNUM, 20)),
        ],
    ),
    ("infracost_key", [("ico-", (ALNUM, 32))], [("ico-", (ALNUM, 31)), ("ico-", (ALNUM, 33)), ("icon-", (ALNUM, 32))]),
    ("scalingo_token", [("tk-us-", (URL, 48))], [("tk-us-", (ALNUM, 47)), ("tk-xx-", (URL, 48))]),
    (
        "wandb_key",
        [("wandb_v1_", (ALNUM, 27), "_", (ALNUM, 49)), ("WANDB_API_KEY=", (HEX, 40))],
        [("wandb_v1_", (ALNUM, 26), "_", (ALNUM, 49)), ("WANDB_API_KEY=", (HEX, 39))],
    ),
    (
        "mapbox_token",
        [("sk.eyJ", (URL, 80), ".", (URL, 22))],
        [("pk.eyJ", (URL, 80), ".", (URL, 22)), ("sk.eyJ", (URL, 39), ".", (URL, 22))],
    ),
    ("neon_key", [("napi_", (SMALL, 64))], [("napi_", (SMALL, 59)), ("naxi_", (SMALL, 64))]),
    ("elevenlabs_key", [("sk_", (HEX, 48))], [("sk_", (HEX, 47)), ("task_", (HEX, 48))]),
    ("langfuse_key", [("sk-lf-", *uuid())], [("pk-lf-", *uuid()), ("sk-lf-", (HEX, 32))]),
    (
        "tavily_key",
        [("tvly-", (ALNUM, 32)), ("tvly-dev-", (ALNUM, 32))],
        [("tvly-", (ALNUM, 23)), ("tvlx-", (ALNUM, 32))],
    ),
    (
        "asana_token",
        [("1/", (DIGITS, 16), ":", (HEX, 32)), ("2/", (DIGITS, 16), "/", (DIGITS, 16), ":", (HEX, 32))],
        [("1/", (DIGITS, 16), ":", (HEX, 31)), ("3/", (DIGITS, 16), ":", (HEX, 32))],
    ),
    (
        "teams_webhook",
        [
            (
                "https://x.webhook.office.com/webhookb2/",
                *uuid(),
                "@",
                *uuid(),
                "/IncomingWebhook/",
                (HEX, 32),
                "/",
                *uuid(),
            )
        ],
        [("https://x.webhook.office.com/webhookb2/", *uuid())],
    ),
    (
        "yandex_key",
        [
            ("AQVN", (ALNUM, 36), (DIGITS, 1)),
            ("YCAJE", (ALNUM, 20), (DIGITS, 1)),
            ("t1.", (URL, 60), ".", (URL, 86), "=="),
        ],
        [("AQVN", (ALNUM, 34)), ("t1.", (URL, 60), ".", (URL, 85)), ("YCAXX", (ALNUM, 22))],
    ),
    (
        "aws_secret_key",
        [("aws_secret_access_key = ", (ALNUM, 20), (B64, 19), (ALNUM, 1)), ('"SecretAccessKey": "', (B64, 40), '"')],
        [("aws_secret_access_key = ", (ALNUM, 39)), ("aws_access_key_id = ", (ALNUM, 40))],
    ),
    ("nvidia_key", [("nvapi-", (URL, 64))], [("nvapi-", (URL, 59)), ("nvapi_", (URL, 64)), ("nvapi-", (URL, 30))]),
    ("fireworks_key", [("fw_1", (ALNUM, 23))], [("fw_", (ALNUM, 20)), ("fw-", (ALNUM, 24)), ("xfw_", (ALNUM, 24))]),
    (
        "resend_key",
        [("re_1", (ALNUM, 7), "_", (ALNUM, 24))],
        [
            ("re_", (ALNUM, 8), "_", (ALNUM, 19)),
            ("re_", (ALNUM, 8), "-", (ALNUM, 24)),
            ("are_", (ALNUM, 8), "_", (ALNUM, 24)),
        ],
    ),
    (
        "jina_key",
        [("jina_", (HEX, 32), (ALNUM, 28))],
        [("jina_", (HEX, 32)), ("jina-", (HEX, 32), (ALNUM, 28)), ("jina_", ("ghijk", 60))],
    ),
    ("llamacloud_key", [("llx-", (ALNUM, 48))], [("llx-", (ALNUM, 39)), ("llx_", (ALNUM, 48)), ("llx-", (ALNUM, 65))]),
    ("cerebras_key", [("csk-", (SMALL, 48))], [("csk-", (SMALL, 39)), ("csk-", (UPPER, 48)), ("csk_", (SMALL, 48))]),
    (
        "e2b_key",
        [("e2b_", (HEX, 40)), ("sk_e2b_", (HEX, 40))],
        [("e2b_", (HEX, 39)), ("e2b-", (HEX, 40)), ("e2b_", ("ghijk", 40))],
    ),
    (
        "together_key",
        [("tgp_v1_", (URL, 43))],
        [("tgp_v1_", (URL, 39)), ("tgp_v2_", (URL, 43)), ("tgp_v1-", (URL, 43))],
    ),
    (
        "voyage_key",
        [("pa-A1z", (ALNUM, 40)), ("al-A1z", (ALNUM, 40))],
        [("pa-", (ALNUM, 42)), ("pb-", (ALNUM, 43)), ("pa-", (LOWER, 43)), ("pa-", (ALNUM, 44))],
    ),
    ("adafruit_key", [("aio_", (ALNUM, 28))], [("aio_", (ALNUM, 27)), ("aio-", (ALNUM, 28)), ("aio_", (ALNUM, 29))]),
    ("runpod_key", [("rpa_", (ALNUM, 46))], [("rpa_", (ALNUM, 37)), ("rpa-", (ALNUM, 46)), ("rpa_", (ALNUM, 51))]),
]

# What stands around a value that the form itself does not name: taken off where the rest is asked for.
NAMES = re.compile(
    r"(?i).*?(?:https?://[^ ]*?(?:services/|webhooks/\d+/|webhookb2/|catch/|org/bot|sig=)|\"[A-Za-z_]+\": \"|"
    r"[A-Z_]+_(?:KEY|TOKEN)=|CO_API_KEY: |CF_API_KEY: |datadog_app_key: |_authToken=|AccountKey=|SharedAccessKey=|"
    r"FlyV1 |SSWS |access_key = )"
)
TAIL = re.compile(r"(?:/getMe|&se=2026|\")$")

DRAWN = 20
"""Random tokens of each form; the generator is seeded, so they are the same in every run."""

SURROUNDINGS = {
    "text": "we used {} for it",
    "end": "it is {}.",
    "quotes": "'{}'",
    "JSON": '{{"note": "{}", "n": 1}}',
    "escaped JSON": '{{\\"note\\": \\"{}\\"}}',
    "assignment": "VALUE={}",
    "query": "https://x.example/?a=1&v={}&b=2",
    "lines": "one\n{}\nthree",
}


def drawn(form: Form, rnd: random.Random) -> str:
    return "".join(part if isinstance(part, str) else _letters(part, rnd) for part in form)


def _letters(part: tuple[str, int], rnd: random.Random) -> str:
    """Signs of an alphabet; the first and the last are no hyphens, which a sentence would share."""
    alphabet, length = part
    ends = [sign for sign in alphabet if sign.isalnum()]
    signs = rnd.choices(alphabet, k=length)
    signs[0] = rnd.choice(ends)
    signs[-1] = rnd.choice(ends)
    return "".join(signs)


def secret_of(token: str) -> str:
    """The token without the name or address that it stands behind, which may stay."""
    return TAIL.sub("", NAMES.sub("", token, count=1))


@pytest.fixture(scope="module")
def alone() -> dict[str, Rules]:
    """The rows of each name by themselves, with what they share (no field names, no exemptions)."""
    rows = ["[[detector]]" + row for row in SECRETS.split("[[detector]]")[1:]]
    by_name: dict[str, str] = {}
    for row in rows:
        name = row.split('name = "', 1)[1].split('"', 1)[0]
        by_name[name] = by_name.get(name, "") + row
    return {name: load_rules(text) for name, text in by_name.items()}


VENDOR_NAMES = [name for name, _, _ in VENDORS]


def left_of(token: str, text: str, value: str) -> list[str]:
    """What of a token's secret is left in the redacted text: runs of four signs that nothing else explains."""
    secret = secret_of(token)
    others = text.replace(secret, "\n")
    kept = MARK.sub("\n", value)
    runs = {secret[at : at + 4] for at in range(len(secret) - 3)}
    return sorted(run for run in runs if run in kept and run not in others)


MARK = re.compile(r"\[REDACTED_[A-Z0-9_]+\]")
FORMS = [(name, form) for name, forms, _ in VENDORS for form in forms]
NEAR = [(name, form) for name, _, near in VENDORS for form in near]


@pytest.mark.parametrize(("name", "form"), FORMS, ids=[name for name, _ in FORMS])
def test_a_vendors_token_goes_whole_wherever_it_stands(
    rules: Rules, alone: dict[str, Rules], name: str, form: Form
) -> None:
    """By the row alone it bears the vendor's name; by that and by the shipped table no four signs of it are left."""
    token = drawn(form, random.Random(name))
    for text in (around.format(token) for around in SURROUNDINGS.values()):
        own = redact(text, alone[name])
        assert [found.detector for found in own.findings] == [name], text
        assert left_of(token, text, own.value) == []
        assert left_of(token, text, redact(text, rules).value) == []


@pytest.mark.parametrize(("name", "form"), NEAR, ids=[name for name, _ in NEAR])
def test_near_misses_are_none_of_the_vendors(alone: dict[str, Rules], name: str, form: Form) -> None:
    """Too short, another alphabet, another prefix, the middle of a longer word: the vendor's row leaves them."""
    for around in SURROUNDINGS.values():
        text = around.format(drawn(form, random.Random(name)))
        assert redact(text, alone[name]).value == text


@pytest.mark.parametrize(("name", "form"), FORMS, ids=[name for name, _ in FORMS])
def test_random_tokens_of_a_form_are_found(alone: dict[str, Rules], name: str, form: Form) -> None:
    """Twenty of each form: no draw of the alphabet escapes."""
    rnd = random.Random(f"{name} again")
    for _ in range(DRAWN):
        token = drawn(form, rnd)
        text = f"see {token} now"
        assert left_of(token, text, redact(text, alone[name]).value) == [], token


def test_at_least_forty_vendors_have_positive_and_near_cases(rules: Rules) -> None:
    """The table above names rows that ship, each once, with both kinds of case."""
    assert len(set(VENDOR_NAMES)) == len(VENDOR_NAMES) >= 40
    assert set(VENDOR_NAMES) <= rules.names
    assert all(forms and near for _, forms, near in VENDORS)


def test_every_vendors_row_has_its_cases(alone: dict[str, Rules]) -> None:
    """A row that is added to the table needs its forms here; the generic ones have theirs below."""
    assert set(alone) - set(VENDOR_NAMES) == {"jwt", "private_key", "bearer_token", "basic_auth", "password", "api_key"}


# What is nobody's own

HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
CLAIMS = base64.urlsafe_b64encode(b'{"sub":"example","name":"Example"}').decode().rstrip("=")
LINE = "EXAMPLE0123456789" * 4
BEGIN, END = "-----BEGIN {}PRIVATE KEY-----", "-----END {}PRIVATE KEY-----"
BASIC = base64.b64encode(b"bob:example-0").decode()

CARRIED = [
    (f"jwt {HEADER}.{CLAIMS}.{LINE} end", "jwt [REDACTED_JWT] end"),
    (f"{HEADER}.{CLAIMS}.", "[REDACTED_JWT]"),
    (f"{HEADER}.{LINE}.{LINE}.{LINE}.{LINE}", "[REDACTED_JWT]"),
    (f"{HEADER}..{LINE}.{LINE}.{LINE}", "[REDACTED_JWT]"),
    (f"Authorization: Bearer {HEADER}.{CLAIMS}.{LINE}", "Authorization: Bearer [REDACTED_JWT]"),
    ("Authorization: Bearer abc.DEF-123~456", "Authorization: Bearer [REDACTED_BEARER_TOKEN]"),
    ("-H 'authorization: bearer 0123abcd'", "-H 'authorization: bearer [REDACTED_BEARER_TOKEN]'"),
    (f"Authorization: Basic {BASIC}", "Authorization: Basic [REDACTED_BASIC_AUTH]"),
    ("postgres://user:pass@host/db", "postgres://user:[REDACTED_PASSWORD]@host/db"),
    ("https://u:p@host/x?y", "https://u:[REDACTED_PASSWORD]@host/x?y"),
    ("redis://:Hunter-2@cache:6379", "redis://:[REDACTED_PASSWORD]@cache:6379"),
    ("mysql://bob:p@ss@db:3306", "mysql://bob:[REDACTED_PASSWORD]@db:3306"),
    (f"{BEGIN}\n{LINE}\n{LINE}\nEXAM=\n{END}\nend".format("", ""), "[REDACTED_PRIVATE_KEY]\nend"),
    (f"{BEGIN}\\n{LINE}\\nEXAM\\n{END}\\n".format("RSA ", "RSA "), "[REDACTED_PRIVATE_KEY]\\n"),
    (f"x {BEGIN}\n{LINE}\n{LINE}\n\nand so on".format("EC "), "x [REDACTED_PRIVATE_KEY]\n\nand so on"),
    (f"{BEGIN}\nProc-Type: 4,ENCRYPTED\n\n{LINE}\n{END}".format("", ""), "[REDACTED_PRIVATE_KEY]"),
    ("password=hunter2", "password=[REDACTED_PASSWORD]"),
    ("password = 'correct horse'", "password = '[REDACTED_PASSWORD]'"),
    ('passwd: "s3cr3t!"', 'passwd: "[REDACTED_PASSWORD]"'),
    ("Password: 123456", "Password: [REDACTED_PASSWORD]"),
    ("password=letmein&user=bob", "password=[REDACTED_PASSWORD]&user=bob"),
    ('{"password": 123456, "n": 1}', '{"password": [REDACTED_PASSWORD], "n": 1}'),
    ("DB_PASSWORD=swordfish", "DB_PASSWORD=[REDACTED_PASSWORD]"),
    ("Server=x;Pwd=hunter2;Db=y", "Server=x;Pwd=[REDACTED_PASSWORD];Db=y"),
    ("my password is hunter2, sorry", "my password is [REDACTED_PASSWORD], sorry"),
    ("--password hunter2 -v", "--password [REDACTED_PASSWORD] -v"),
    ('config["password"] = "swordfish"', 'config["password"] = "[REDACTED_PASSWORD]"'),
    ("token: abc12345", "token: [REDACTED_API_KEY]"),
    ('secret="swordfish"', 'secret="[REDACTED_API_KEY]"'),
    ("api-key=abc-12345", "api-key=[REDACTED_API_KEY]"),
    ('{"client_secret": "example-0"}', '{"client_secret": "[REDACTED_API_KEY]"}'),
    ('{\\"client_secret\\": \\"example-0\\"}', '{\\"client_secret\\": \\"[REDACTED_API_KEY]\\"}'),
    ("x-api-key: 0123abcd4567", "x-api-key: [REDACTED_API_KEY]"),
]

LEFT = [
    "password: str", "password: str = Field(...)", "token: int = 5", "password = getpass()", "password=None",
    "password = input('Password: ')", "password=self.password", "password: Optional[str]", "tokens: 150",
    "max_token: 100", "max_tokens=4096", "total_tokens: 1234567", "password is wrong", "the password is incorrect.",
    "password is required!", "token: [REDACTED_GITHUB_TOKEN]", "password=[REDACTED_PASSWORD]",
    "Bearer [REDACTED_JWT]", "password: ${DB_PASSWORD}", "password=$DB_PASSWORD", "password: {{ db_password }}",
    "password: <your-password>", "password=****",
    '{"password": kept, "secret": self.secret1}', "password: xxxxxxxx", "api_key=your-api-key", "api_key: <api_key>",
    'password = os.environ["PASSWORD"]', "token = request.headers.get('x')", "Password: must be at least 8 signs",
    "Forgot your password? Reset it.", '{"token": " Hello", "logprob": -0.3}', "next token: the", "token=token",
    "secret: str", "primary_key: order_id", "public_key=AbCd1234", "sort_key: 12", "tests pass: 1250", "bypass=hunter2",
    "http://host:8080/@x", "http://host:8080", "https://x.example/a:b@c", "ssh://git@host:22/x", "git@host.example:a/b",
    "postgres://user:${DB_PASSWORD}@host", "postgres://user:****@host", "postgres://<user>:<password>@host",
    "Bearer authentication", "the bearer of this letter", "Authorization: Bearer <token>", "Basic authentication",
    "basic understanding", "Basic QUJDREVGR0g=", "-----BEGIN PRIVATE KEY-----",
    f"-----BEGIN CERTIFICATE-----\n{LINE}\n-----END CERTIFICATE-----", f"{HEADER}.{LINE}", "eyJ.eyJ.x",
]  # fmt: skip


@pytest.fixture(scope="module")
def secrets() -> Rules:
    """All rows of the part, and nothing else of the table."""
    return load_rules(SECRETS)


@pytest.mark.parametrize(("text", "wanted"), CARRIED)
def test_what_carries_a_secret_loses_it_alone(secrets: Rules, text: str, wanted: str) -> None:
    """The value goes whole, its name and what is around it stay; what is left is not found again."""
    assert redact(text, secrets).value == wanted
    assert redact(wanted, secrets).value == wanted


@pytest.mark.parametrize(("text", "wanted"), CARRIED)
def test_the_shipped_table_lets_none_of_them_through(rules: Rules, text: str, wanted: str) -> None:
    """Other rows may give it another name, or take more; the value itself is gone."""
    ahead, behind = MARK.split(wanted)
    value = text[len(ahead) : len(text) - len(behind)]
    assert ahead[-1:] + value + behind[:1] not in redact(text, rules).value


@pytest.mark.parametrize("text", LEFT)
def test_code_prose_and_placeholders_stay(secrets: Rules, text: str) -> None:
    """A type, a call, a count, a sentence, a placeholder, or what was redacted before is no secret."""
    assert redact(text, secrets).value == text


def test_a_private_key_that_was_cut_goes_to_the_end_of_its_lines(secrets: Rules) -> None:
    """Wherever it was cut, no more than a short last line is left of it."""
    block = f"{BEGIN}\n{LINE}\n{LINE}\n{LINE}\n".format("")
    for size in range(len(block.split("\n")[0]) + 17, len(block)):
        value = redact(block[:size], secrets).value
        assert value.startswith("[REDACTED_PRIVATE_KEY]")
        assert len(value) <= len("[REDACTED_PRIVATE_KEY]") + 16


# The patterns themselves

UNBOUNDED = {
    "jwt",
    "private_key",
    "bearer_token",
    "basic_auth",
    "password",
    "terraform_token",
    "api_key",
    "dropbox_token",
    "fly_token",
    "google_oauth_token",
    "onepassword_token",
    "pypi_token",
}
"""Rows with a run that has no bound: each run ends at a sign that its class lacks, and the next match begins behind."""

LONGEST = 4096
"""Signs that a bounded pattern may match."""


def test_no_pattern_matches_nothing_and_each_has_a_bound(secrets: Rules) -> None:
    """What could match the empty text would loop; what has no bound is listed above with its reason."""
    unbounded = set()
    for detector in secrets.detectors:
        shortest, longest = pattern_parser.parse(detector.pattern.pattern).getwidth()
        assert shortest >= 4, detector.name
        assert re2.compile(detector.pattern.pattern).search("") is None
        if longest > LONGEST:
            unbounded.add(detector.name)
    assert unbounded == UNBOUNDED


def test_each_pattern_has_one_value(secrets: Rules) -> None:
    """A group is the value: of several groups they are alternatives, in quotes of one kind each."""
    for detector in secrets.detectors:
        assert detector.pattern.groups in (0, 1, 3), detector.name
        quotes = [
            rf"([^\x{sign}\n,}}\]\s](?:[^\x{sign}\n]|[0-9A-Za-z]\x{sign}[0-9A-Za-z]){{2,}})" for sign in ("22", "27")
        ]
        quotes.append(r"([^\x60\s][^\x60\n]{2,})")
        assert detector.pattern.groups < 3 or all(quote in detector.pattern.pattern for quote in quotes)
