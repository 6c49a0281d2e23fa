//! What a customer has reserved, and the one rule about it: never more than the credit limit.

use waybill_messaging::Failure;

use super::Rules;
use crate::{Money, read::wrong, view::View};

/// The accounts of all customers that a batch may reserve for or give back to.
pub(super) type Accounts = View<Money>;

/// Reserves `amount` for that customer, or says why not. A failure or refusal changes nothing.
pub(super) fn charge(
    rules: &Rules,
    accounts: &mut Accounts,
    customer_id: &str,
    amount: &Money,
) -> Result<Result<(), String>, Failure> {
    let limit = &rules.credit_limit;
    if amount.currency_code != limit.currency_code {
        return Ok(Err(format!(
            "payments are taken in {}, not in {}",
            limit.currency_code, amount.currency_code
        )));
    }
    if customer_id.is_empty() {
        let fits = amount.minor_units <= limit.minor_units;
        return Ok(if fits { Ok(()) } else { Err(format!("{amount} exceed the credit limit of {limit}")) });
    }
    let Some(reserved) = accounts.get(customer_id) else { return missing(customer_id) };
    if reserved.minor_units > 0 && reserved.currency_code != limit.currency_code {
        return Ok(Err(format!("{reserved} are still reserved, in another currency than {amount}")));
    }
    match reserved.minor_units.checked_add(amount.minor_units) {
        Some(sum) if sum <= limit.minor_units => {
            // An account that holds nothing takes the currency of the day.
            accounts.set(customer_id, amount.of(sum));
            Ok(Ok(()))
        }
        _ => Ok(Err(format!("{amount} exceed the credit limit of {limit} ({reserved} reserved)"))),
    }
}

/// Gives back what was reserved for that customer.
pub(super) fn give_back(accounts: &mut Accounts, customer_id: &str, amount: &Money) -> Result<(), Failure> {
    if customer_id.is_empty() {
        return Ok(());
    }
    let Some(reserved) = accounts.get(customer_id) else { return missing(customer_id) };
    let rest = reserved.minor_units.checked_sub(amount.minor_units).filter(|rest| *rest >= 0);
    match rest {
        Some(rest) if reserved.currency_code == amount.currency_code => {
            let rest = reserved.of(rest);
            accounts.set(customer_id, rest);
            Ok(())
        }
        _ => {
            wrong(format!("account {customer_id} holds {reserved}, from which {amount} cannot be given back"))
        }
    }
}

/// Accounts are made before anything is decided, and never removed: somebody has meddled with the table.
fn missing<T>(customer_id: &str) -> Result<T, Failure> {
    wrong(format!("account {customer_id} does not exist"))
}
