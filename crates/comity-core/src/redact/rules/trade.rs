//! Rules for payment, shops and money: who holds one of these can charge, refund or pay out.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Rule, token};

const PAYMENT: &[&str] = &["payment"];
const SHOP: &[&str] = &["shop"];
const WALLET: &[&str] = &["wallet", "crypto"];

pub(super) const RULES: &[Rule] = &[
    token("stripe-secret-key", Critical, PAYMENT, &["sk_live_"], r"[A-Za-z0-9_]{16,}"),
    token("stripe-restricted-key", Critical, PAYMENT, &["rk_live_"], r"[A-Za-z0-9_]{16,}"),
    token("stripe-test-key", Medium, PAYMENT, &["sk_test_", "rk_test_", "sk_prod_", "rk_prod_"], r"[A-Za-z0-9_]{16,}")
        .random(),
    token("stripe-organization-key", Critical, PAYMENT, &["sk_org_"], r"[A-Za-z0-9_]{16,}").random(),
    token("webhook-signing-secret", High, PAYMENT, &["whsec_"], r"[A-Za-z0-9+/=_]{24,}").random(),
    token("square-access-token", Critical, PAYMENT, &["sq0atp-"], r"[\w-]{22,60}"),
    token("square-oauth-secret", Critical, PAYMENT, &["sq0csp-"], r"[\w-]{22,60}").random(),
    token("square-personal-token", Critical, PAYMENT, &["EAAA"], r"[\w-]{56,64}").random(),
    token(
        "paypal-braintree-token",
        Critical,
        PAYMENT,
        &["access_token$production$", "access_token$sandbox$"],
        r"[a-z0-9]{16}\$[a-f0-9]{32}",
    ),
    token("braintree-key", High, PAYMENT, &["sandbox_", "production_"], r"[a-z0-9]{8}_[a-z0-9]{16}").random(),
    token(
        "plaid-token",
        High,
        PAYMENT,
        &["access-production-", "access-sandbox-", "access-development-"],
        r"[a-f0-9-]{36}",
    ),
    token("razorpay-key", High, PAYMENT, &["rzp_live_", "rzp_test_"], r"[A-Za-z0-9]{14,}").random(),
    token("adyen-key", Critical, PAYMENT, &["AQE"], r"[a-z][A-Za-z0-9+/]{60,}[\w+/=.:{}<>()\[\]|~^!@#$%&*?,;-]*"),
    token("flutterwave-key", Critical, PAYMENT, &["FLWSECK-", "FLWSECK_TEST-"], r"[A-Za-z0-9]{12,}(?:-X)?"),
    token("paystack-key", High, PAYMENT, &["sk_"], r"(?:live|test)_[A-Za-z0-9]{32,}").random(),
    token("gocardless-token", Critical, PAYMENT, &["live_"], r"[\w-]{30,44}").random(),
    token("mollie-test-key", Medium, PAYMENT, &["test_"], r"[A-Za-z0-9]{30,40}").random(),
    token("coinbase-key", Critical, PAYMENT, &["organizations/"], r"[a-f0-9-]{36}/apiKeys/([a-f0-9-]{36})"),
    token("mercado-pago-token", Critical, PAYMENT, &["APP_USR-"], r"\d{10,}-\d{6}-[a-f0-9]{32}-\d+"),
    token("lob-key", High, PAYMENT, &["live_pub_", "test_pub_"], r"[a-f0-9]{31}"),
    token("paddle-key", High, PAYMENT, &["pdl_"], r"(?:live|sdbx)_apikey_\w{20,}"),
    token("polar-token", High, PAYMENT, &["polar_oat_", "polar_pat_", "polar_whs_"], r"[A-Za-z0-9]{30,}").random(),
    token("xendit-key", High, PAYMENT, &["xnd_"], r"(?:production|development)_[A-Za-z0-9]{40,}"),
    token("shopify-admin-token", Critical, SHOP, &["shpat_"], r"[a-fA-F0-9]{32}"),
    token("shopify-app-token", Critical, SHOP, &["shpca_", "shppa_", "shpua_"], r"[a-fA-F0-9]{32}"),
    token("shopify-shared-secret", Critical, SHOP, &["shpss_"], r"[a-fA-F0-9]{32}"),
    token("woocommerce-secret", High, SHOP, &["cs_"], r"[a-f0-9]{40}"),
    token("woocommerce-key", Medium, SHOP, &["ck_"], r"[a-f0-9]{40}"),
    token("easypost-key", High, SHOP, &["EZAK", "EZTK"], r"[A-Za-z0-9]{54}").random(),
    token("shippo-token", High, SHOP, &["shippo_live_", "shippo_test_"], r"[a-f0-9]{40}"),
    token(
        "bitcoin-extended-key",
        Critical,
        WALLET,
        &["xprv", "yprv", "zprv", "tprv"],
        r"[1-9A-HJ-NP-Za-km-z]{100,112}",
    ),
    token("bitcoin-private-key", Critical, WALLET, &["5H", "5J", "5K"], r"[1-9A-HJ-NP-Za-km-z]{49}").random(),
    token(
        "bitcoin-compressed-key",
        Critical,
        WALLET,
        &["Kw", "Kx", "Ky", "Kz", "L1", "L2", "L3", "L4", "L5"],
        r"[1-9A-HJ-NP-Za-km-z]{50}",
    )
    .random(),
    token("nostr-secret-key", Critical, WALLET, &["nsec1"], r"[02-9ac-hj-np-z]{58}"),
    token("stellar-secret-seed", Critical, WALLET, &["SA", "SB", "SC", "SD"], r"[A-Z2-7]{54}").random(),
];
