//! What a reconciliation counts, bounded whatever the files hold.

use rapport_contacts_api::v1 as pb;
use rapport_proto::google_type::Money;

/// Rows of one sort that are told of a file.
const SAMPLES: usize = 20;
/// Currencies whose amounts are summed up, each by itself.
const CURRENCIES: usize = 50;
const NANOS: i128 = 1_000_000_000;

/// Where a sum is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What the file says.
    Source,
    /// What is there.
    Here,
}

/// Counts a row whose record is not there.
pub fn missing(file: &mut pb::ReconciledFile, line: i64) {
    file.missing_count += 1;
    sample(&mut file.missing, pb::ReconciledRow { line, ..pb::ReconciledRow::default() });
}

/// Counts a row that could not be compared.
pub fn uncompared(file: &mut pb::ReconciledFile, reason: &str) {
    file.uncompared_count += 1;
    match file.uncompared.binary_search_by(|known| known.reason.as_str().cmp(reason)) {
        Ok(at) => file.uncompared[at].count += 1,
        Err(at) => file.uncompared.insert(at, pb::ImportRefusal { reason: reason.to_owned(), count: 1 }),
    }
}

/// Counts a row that would change these fields of its record.
pub fn differing(file: &mut pb::ReconciledFile, line: i64, record: &str, fields: &[&str]) {
    file.differing_count += i64::from(!fields.is_empty());
    for field in fields {
        let at = file.fields.binary_search_by(|known| known.field.as_str().cmp(field)).unwrap_or_else(|at| {
            file.fields.insert(at, pb::ReconciledField { field: (*field).to_owned(), ..pb::ReconciledField::default() });
            at
        });
        file.fields[at].count += 1;
        sample(&mut file.fields[at].samples, pb::ReconciledRow { line, record: record.to_owned(), ..pb::ReconciledRow::default() });
    }
}

/// Counts a cell that calls something an account that is none here.
pub fn dangling(file: &mut pb::ReconciledFile, line: i64, reference: &str, stands_in_a_file: bool) {
    match stands_in_a_file {
        true => file.unloaded_reference_count += 1,
        false => file.broken_reference_count += 1,
    }
    let reference = reference.chars().take(100).collect();
    sample(&mut file.references, pb::ReconciledRow { line, reference, ..pb::ReconciledRow::default() });
}

fn sample(samples: &mut Vec<pb::ReconciledRow>, row: pb::ReconciledRow) {
    if samples.len() < SAMPLES {
        samples.push(row);
    }
}

/// Adds the numbers of an account.
pub fn add(file: &mut pb::ReconciledFile, account: &pb::Account, side: Side) {
    if let Some(count) = account.employee_count {
        add_to(file, "employee_count", "", i128::from(count) * NANOS, side);
    }
    if let Some(Money { currency_code, units, nanos }) = &account.annual_revenue
        && currency_code.len() == 3
    {
        add_to(file, "annual_revenue", currency_code, i128::from(*units) * NANOS + i128::from(*nanos), side);
    }
}

fn add_to(file: &mut pb::ReconciledFile, field: &str, currency: &str, billionths: i128, side: Side) {
    let at = match file.sums.binary_search_by(|sum| (sum.field.as_str(), sum.currency.as_str()).cmp(&(field, currency))) {
        Ok(at) => at,
        Err(_) if file.sums.len() > CURRENCIES => return,
        Err(at) => {
            let (source, here) = ("0".to_owned(), "0".to_owned());
            file.sums.insert(at, pb::ReconciledSum { field: field.to_owned(), currency: currency.to_owned(), source, here });
            at
        }
    };
    let sum = match side {
        Side::Source => &mut file.sums[at].source,
        Side::Here => &mut file.sums[at].here,
    };
    *sum = written(read(sum) + billionths);
}

/// A number of billionths as people write it.
fn written(billionths: i128) -> String {
    let (whole, part) = (billionths.unsigned_abs() / NANOS.unsigned_abs(), billionths.unsigned_abs() % NANOS.unsigned_abs());
    let sign = if billionths < 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The number that [`written`] wrote.
fn read(text: &str) -> i128 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    sign * format!("{whole}{part:0<9}").parse::<i128>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for (billionths, text) in [(0, "0"), (1_200_500_000_000, "1200.5"), (-1, "-0.000000001"), (20 * NANOS, "20")] {
            assert_eq!((written(billionths).as_str(), read(text)), (text, billionths));
        }
    }

    #[test]
    fn amounts_are_summed_up_for_each_currency() {
        let mut file = pb::ReconciledFile::default();
        for (currency_code, units) in [("USD", 7), ("EUR", 1), ("USD", -9)] {
            let annual_revenue = Some(Money { currency_code: currency_code.to_owned(), units, nanos: 0 });
            add(&mut file, &pb::Account { annual_revenue, employee_count: Some(5), ..pb::Account::default() }, Side::Source);
        }
        let told: Vec<(&str, &str, &str)> = file.sums.iter().map(|sum| (sum.field.as_str(), sum.currency.as_str(), sum.source.as_str())).collect();
        assert_eq!(told, [("annual_revenue", "EUR", "1"), ("annual_revenue", "USD", "-2"), ("employee_count", "", "15")]);
    }

    #[test]
    fn what_is_counted_is_not_what_is_told() {
        let mut file = pb::ReconciledFile::default();
        for line in 0..100 {
            differing(&mut file, line, "accounts/x", &["sector", "parent"]);
            missing(&mut file, line);
            dangling(&mut file, line, "0015", line % 2 == 0);
            uncompared(&mut file, "ROW_REPEATED");
        }
        assert_eq!((file.differing_count, file.missing_count, file.uncompared_count), (100, 100, 100));
        assert_eq!((file.unloaded_reference_count, file.broken_reference_count), (50, 50));
        let fields: Vec<(&str, i64, usize)> = file.fields.iter().map(|field| (field.field.as_str(), field.count, field.samples.len())).collect();
        assert_eq!(fields, [("parent", 100, SAMPLES), ("sector", 100, SAMPLES)]);
        assert_eq!((file.missing.len(), file.references.len()), (SAMPLES, SAMPLES));
    }
}
