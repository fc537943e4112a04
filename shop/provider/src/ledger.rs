//! The ledger: each operation is looked up by its key, decided, and written, in one transaction.

use leeward_store::{ReadTx, Row, Tx, params};
use shop_contracts::provider::{
    Authorise, Capture, LedgerEntry, LedgerPage, Operation, OperationKind, Refund, Verdict, Void,
};
use shop_contracts::{Currency, Money};

use crate::verdict::{self, Authorisation, Ruling, Standing};

/// How long a key is remembered. Past it the same key is a new operation, as it is with real providers.
pub(crate) const KEY_LIFE_MS: i64 = 24 * 60 * 60 * 1000;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Authorise(Authorise),
    Capture(Capture),
    Void(Void),
    Refund(Refund),
}

/// One operation, ready to be carried out.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) key: String,
    pub(crate) request: Request,
    pub(crate) request_hash: String,
    pub(crate) refunds_refused: bool,
    pub(crate) now_ms: i64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Carried out now.
    New(Operation),
    /// Carried out before, under the same key.
    Known(Operation),
    /// The key stands for another request.
    KeyReused,
}

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
    /// A row holds what this program never wrote.
    #[error("the database holds {0:?} where a {1} belongs")]
    Foreign(String, &'static str),
}

const COLUMNS: &str =
    "seq, key, kind, verdict, code, authorisation, amount_minor, currency, reference, request_hash, at_ms";

/// Carries `order` out, once.
pub(crate) async fn carry_out(tx: &mut Tx, order: Order) -> Result<Done, Error> {
    if let Some(entry) = by_key(tx, &order.key).await?
        && entry.at_ms > order.now_ms - KEY_LIFE_MS
    {
        let same = entry.request_hash == order.request_hash;
        return Ok(if same { Done::Known(entry.operation) } else { Done::KeyReused });
    }
    let operation = match &order.request {
        Request::Authorise(request) => authorise(tx, &order, request).await?,
        Request::Capture(request) => capture(tx, &order, request).await?,
        Request::Void(request) => void(tx, &order, request).await?,
        Request::Refund(request) => refund(tx, &order, request).await?,
    };
    append(tx, &order, &operation).await?;
    Ok(Done::New(operation))
}

async fn authorise(tx: &mut Tx, order: &Order, request: &Authorise) -> Result<Operation, Error> {
    let voided =
        tx.query_opt("SELECT 1 FROM voided_keys WHERE key = $1", params![order.key]).await?.is_some();
    let ruling = verdict::on_authorise(&request.token, voided);
    let id = format!("auth_{}", uuid::Uuid::now_v7().simple());
    let standing = if ruling.0 == Verdict::Approved { Standing::Open } else { Standing::Nothing };
    tx.execute(
        "INSERT INTO authorisations (id, key, token, amount_minor, currency, standing, refunded_minor)
         VALUES ($1, $2, $3, $4, $5, $6, 0)",
        params![
            id,
            order.key,
            request.token,
            request.amount.amount_minor,
            request.amount.currency.as_str(),
            standing.as_str()
        ],
    )
    .await?;
    Ok(operation(order, OperationKind::Authorise, ruling, id, Some(request.amount)))
}

async fn capture(tx: &mut Tx, order: &Order, request: &Capture) -> Result<Operation, Error> {
    let known = authorisation(tx, "id", &request.authorisation).await?;
    let ruling = verdict::on_capture(known.as_ref(), request.amount);
    if ruling.0 == Verdict::Approved {
        stands(tx, &request.authorisation, Standing::Captured).await?;
    }
    Ok(operation(order, OperationKind::Capture, ruling, request.authorisation.clone(), Some(request.amount)))
}

async fn void(tx: &mut Tx, order: &Order, request: &Void) -> Result<Operation, Error> {
    let known = authorisation(tx, "key", &request.authorisation_key).await?;
    let ruling = verdict::on_void(known.as_ref());
    let mut freed = None;
    if ruling.0 == Verdict::Approved {
        tx.execute(
            "INSERT INTO voided_keys (key, at_ms) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
            params![request.authorisation_key, order.now_ms],
        )
        .await?;
        if let Some(open) = known.as_ref().filter(|it| it.standing == Standing::Open) {
            stands(tx, &open.id, Standing::Voided).await?;
            freed = Some(open.amount);
        }
    }
    let id = known.map(|it| it.id).unwrap_or_default();
    Ok(operation(order, OperationKind::Void, ruling, id, freed))
}

async fn refund(tx: &mut Tx, order: &Order, request: &Refund) -> Result<Operation, Error> {
    let known = authorisation(tx, "id", &request.authorisation).await?;
    let ruling = verdict::on_refund(known.as_ref(), request.amount, order.refunds_refused);
    if ruling.0 == Verdict::Approved {
        tx.execute(
            "UPDATE authorisations SET refunded_minor = refunded_minor + $2 WHERE id = $1",
            params![request.authorisation, request.amount.amount_minor],
        )
        .await?;
    }
    Ok(operation(order, OperationKind::Refund, ruling, request.authorisation.clone(), Some(request.amount)))
}

fn operation(
    order: &Order,
    kind: OperationKind,
    (verdict, code): Ruling,
    authorisation: String,
    amount: Option<Money>,
) -> Operation {
    Operation { key: order.key.clone(), kind, verdict, code: code.map(Into::into), authorisation, amount }
}

async fn authorisation(
    tx: &mut ReadTx,
    column: &'static str,
    value: &str,
) -> Result<Option<Authorisation>, Error> {
    // The newest, should a key have been used again after its life.
    let sql = match column {
        "id" => {
            "SELECT id, token, amount_minor, currency, standing, refunded_minor FROM authorisations WHERE id = $1"
        }
        _ => {
            "SELECT id, token, amount_minor, currency, standing, refunded_minor FROM authorisations
             WHERE key = $1 ORDER BY id DESC LIMIT 1"
        }
    };
    let Some(row) = tx.query_opt(sql, params![value]).await? else { return Ok(None) };
    Ok(Some(Authorisation {
        id: row.get(0)?,
        token: row.get(1)?,
        amount: Money::new(row.get(2)?, parse(row.get(3)?, currency, "currency")?),
        standing: parse(row.get(4)?, Standing::parse, "standing")?,
        refunded_minor: row.get(5)?,
    }))
}

async fn stands(tx: &mut Tx, id: &str, standing: Standing) -> Result<(), Error> {
    tx.execute("UPDATE authorisations SET standing = $2 WHERE id = $1", params![id, standing.as_str()])
        .await?;
    Ok(())
}

async fn append(tx: &mut Tx, order: &Order, operation: &Operation) -> Result<(), Error> {
    let reference = match &order.request {
        Request::Authorise(request) => Some(request.reference.as_str()),
        Request::Capture(_) | Request::Void(_) | Request::Refund(_) => None,
    };
    tx.execute(
        "INSERT INTO ledger
             (key, kind, verdict, code, authorisation, amount_minor, currency, reference, request_hash, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        params![
            operation.key,
            operation.kind.as_str(),
            operation.verdict.as_str(),
            operation.code,
            operation.authorisation,
            operation.amount.map(|amount| amount.amount_minor),
            operation.amount.as_ref().map(|amount| amount.currency.as_str()),
            reference,
            order.request_hash,
            order.now_ms
        ],
    )
    .await?;
    Ok(())
}

/// The newest line of `key`, also when the key's life is over.
pub(crate) async fn by_key(tx: &mut ReadTx, key: &str) -> Result<Option<LedgerEntry>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM ledger WHERE key = $1 ORDER BY seq DESC LIMIT 1");
    tx.query_opt(&sql, params![key]).await?.as_ref().map(entry).transpose()
}

/// The lines after `after`, oldest first.
pub(crate) async fn page(tx: &mut ReadTx, after: i64, limit: u32) -> Result<LedgerPage, Error> {
    let sql = format!("SELECT {COLUMNS} FROM ledger WHERE seq > $1 ORDER BY seq LIMIT $2");
    let rows = tx.query(&sql, params![after, i64::from(limit) + 1]).await?;
    let mut entries = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = if more { entries.last().map(|last| last.seq) } else { None };
    Ok(LedgerPage { entries, next })
}

fn entry(row: &Row) -> Result<LedgerEntry, Error> {
    let amount = match (row.get::<Option<i64>>(6)?, row.get::<Option<&str>>(7)?) {
        (Some(amount_minor), Some(code)) => {
            Some(Money::new(amount_minor, parse(code, currency, "currency")?))
        }
        _ => None,
    };
    Ok(LedgerEntry {
        seq: row.get(0)?,
        operation: Operation {
            key: row.get(1)?,
            kind: parse(row.get(2)?, OperationKind::parse, "kind")?,
            verdict: parse(row.get(3)?, Verdict::parse, "verdict")?,
            code: row.get(4)?,
            authorisation: row.get(5)?,
            amount,
        },
        reference: row.get(8)?,
        request_hash: row.get(9)?,
        at_ms: row.get(10)?,
    })
}

fn currency(code: &str) -> Option<Currency> {
    Currency::parse(code).ok()
}

fn parse<T>(text: &str, how: fn(&str) -> Option<T>, what: &'static str) -> Result<T, Error> {
    how(text).ok_or_else(|| Error::Foreign(text.to_owned(), what))
}
