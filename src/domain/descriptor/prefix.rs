//! What stands in front of the merchant: the bank's own words, and the processor, wallet or
//! marketplace that the payment went through.

/// The bank's words for how it was paid. They say nothing about the merchant; longest first where one begins another.
const LEAD_INS: &[&str] = &[
    "CONTACTLESS INTERAC PURCHASE",
    "INTERAC PURCHASE",
    "INTERAC RETAIL PURCHASE",
    "POINT OF SALE PURCHASE",
    "POINT OF SALE DEBIT",
    "POINT OF SALE WITHDRAWAL",
    "PURCHASE AUTHORIZED ON",
    "RECURRING PAYMENT AUTHORIZED ON",
    "DEBIT CARD PURCHASE",
    "DEBIT CARD PAYMENT TO",
    "DEBIT PURCHASE",
    "VISA DEBIT PURCHASE",
    "VISA PURCHASE",
    "MASTERCARD PURCHASE",
    "CARD PURCHASE",
    "CARD PAYMENT TO",
    "CARD PAYMENT",
    "CONTACTLESS PAYMENT",
    "POS PURCHASE",
    "POS DEBIT",
    "POS WITHDRAWAL",
    "POS W/D",
    "IDP PURCHASE",
    "EFTPOS PURCHASE",
    "ONLINE PURCHASE",
    "INTERNATIONAL PURCHASE",
    "CHECKCARD",
    "CHECK CARD",
    "DIRECT DEBIT TO",
    "KARTENZAHLUNG",
    "PAIEMENT PAR CARTE",
    "PAIEMENT CB",
    "ACHAT CB",
    "PAGO CON TARJETA",
    "COMPRA TARJETA",
    "PAGAMENTO POS",
    "BETAALAUTOMAAT",
];

/// Codes before a `*`, in capitals, and who they stand for.
const STARRED: &[(&str, &str)] = &[
    ("SQ", "square"),
    ("SQC", "square"),
    ("SQU", "square"),
    ("SQUARE", "square"),
    ("GOSQ", "square"),
    ("TST", "toast"),
    ("TOAST", "toast"),
    ("SP", "shopify"),
    ("SHOPIFY", "shopify"),
    ("PAYPAL", "paypal"),
    ("PAYPAL INST XFER", "paypal"),
    ("PP", "paypal"),
    ("PYPL", "paypal"),
    ("VENMO", "venmo"),
    ("CASH APP", "cash_app"),
    ("IC", "instacart"),
    ("INSTACART", "instacart"),
    ("IN", "intuit"),
    ("INT", "intuit"),
    ("INTUIT", "intuit"),
    ("QBO", "intuit"),
    ("WPY", "wepay"),
    ("WAV", "wave"),
    ("BLS", "bluesnap"),
    ("FS", "fastspring"),
    ("FSPRG", "fastspring"),
    ("FASTSPRING", "fastspring"),
    ("DRI", "digital_river"),
    ("2CO", "2checkout"),
    ("2CO.COM", "2checkout"),
    ("2CHECKOUT", "2checkout"),
    ("PADDLE", "paddle"),
    ("PADDLE.NET", "paddle"),
    ("STRIPE", "stripe"),
    ("IZ", "zettle"),
    ("IZETTLE", "zettle"),
    ("ZETTLE", "zettle"),
    ("ZETTLE_", "zettle"),
    ("SUMUP", "sumup"),
    ("SUM UP", "sumup"),
    ("NYA", "nayax"),
    ("NAYAX", "nayax"),
    ("KLARNA", "klarna"),
    ("AFTERPAY", "afterpay"),
    ("CLEARPAY", "clearpay"),
    ("AFFIRM", "affirm"),
    ("SEZZLE", "sezzle"),
    ("ZIP", "zip"),
    ("MOLLIE", "mollie"),
    ("ADYEN", "adyen"),
    ("WORLDPAY", "worldpay"),
    ("PAYU", "payu"),
    ("RAZORPAY", "razorpay"),
    ("RAZ", "razorpay"),
    ("PAYTM", "paytm"),
    ("MERPAGO", "mercado_pago"),
    ("MERCADOPAGO", "mercado_pago"),
    ("MP", "mercado_pago"),
    ("PAG", "pagseguro"),
    ("PAGSEGURO", "pagseguro"),
    ("EBANX", "ebanx"),
    ("EBN", "ebanx"),
    ("DL", "dlocal"),
    ("DLOCAL", "dlocal"),
    ("EZI", "ezidebit"),
    ("ACT", "active_network"),
    ("BF", "borderfree"),
    ("51", "borderfree"),
    ("SKR", "skrill"),
    ("SKRILL", "skrill"),
    ("CLV", "clover"),
    ("CLOVER", "clover"),
    ("LS", "lightspeed"),
    ("LSPD", "lightspeed"),
    ("CCB", "ccbill"),
    ("CCBILL", "ccbill"),
    ("PY", "payanywhere"),
    ("HELCIM", "helcim"),
    ("AMILIA", "amilia"),
    ("MIN", "mindbody"),
    ("MINDBODY", "mindbody"),
    ("VAGARO", "vagaro"),
    ("GLOFOX", "glofox"),
    ("RITUAL", "ritual"),
    ("GOOGLE", "google"),
    ("GOOGLE PAY", "google"),
    ("GOOGLEPAY", "google"),
    ("APL", "apple"),
    ("APPLE PAY", "apple_pay"),
    ("APLPAY", "apple_pay"),
    ("AMZ", "amazon_pay"),
    ("AMZ PAY", "amazon_pay"),
    ("EB", "eventbrite"),
];

/// Wallets and processors that go without a `*`, with the blank after them.
const BARE: &[(&str, &str)] = &[
    ("APLPAY ", "apple_pay"),
    ("APPLE PAY ", "apple_pay"),
    ("GPAY ", "google_pay"),
    ("GOOGLE PAY ", "google_pay"),
    ("SAMSUNG PAY ", "samsung_pay"),
    ("SP ", "shopify"),
    ("TST ", "toast"),
    ("PAYPAL INST XFER ", "paypal"),
    ("SUMUP ", "sumup"),
    ("ZETTLE_", "zettle"),
];

/// Takes the bank's words off the front, where something is left behind them.
pub(super) fn strip_lead_in(text: &str) -> &str {
    for lead_in in LEAD_INS {
        let Some(rest) = strip_ignoring_case(text, lead_in) else { continue };
        let rest = rest.trim_start_matches([' ', '-', ':', '.', ',']);
        if rest.contains(char::is_alphabetic) && text.len() - rest.len() > lead_in.len() {
            return rest;
        }
    }
    text
}

/// Takes one processor off the front, where a merchant is left behind it.
pub(super) fn strip_processor(text: &str) -> Option<(&'static str, &str)> {
    starred(text).or_else(|| bare(text)).filter(|(_, rest)| rest.contains(char::is_alphanumeric))
}

fn starred(text: &str) -> Option<(&'static str, &str)> {
    let star = text.bytes().take(18).position(|b| b == b'*')?;
    let code = text[..star].trim_end();
    let &(_, processor) = STARRED.iter().find(|(known, _)| known.eq_ignore_ascii_case(code))?;
    Some((processor, text[star + 1..].trim_start_matches([' ', '*'])))
}

fn bare(text: &str) -> Option<(&'static str, &str)> {
    BARE.iter().find_map(|&(prefix, processor)| {
        let rest = strip_ignoring_case(text, prefix)?.trim_start_matches([' ', '*']);
        // `SP` and `TST` are also initials: what follows has to look like a name.
        let named = rest.chars().take_while(|c| c.is_alphabetic()).count() >= 3;
        named.then_some((processor, rest))
    })
}

fn strip_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}
